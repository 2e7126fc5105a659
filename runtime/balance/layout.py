"""Who has which place in HAProxy: each version a *lane* of its service, each replica a *slot* of
its lane.

HAProxy is configured with more lanes and slots than are used. A version or replica that comes or
goes fills or empties one over the runtime API; only when they do not suffice, or a service itself
changes, HAProxy is reloaded. What has a place keeps it; what is new gets one that was free before
too, where there is one, so that nothing of its last owner is still on its way.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from typing import TypeVar

from runtime.balance.declared import Balance, Replica, Service, Version

_Owner = TypeVar("_Owner", bound=Hashable)

LANES = 4
"""At least: the live version, the next, the one before it, and one that is ending."""
SLOTS = 16


@dataclass(frozen=True, slots=True)
class Lane:
    """``version`` None: nobody has it. A slot with None is empty."""

    version: Version | None
    slots: tuple[Replica | None, ...]


@dataclass(frozen=True, slots=True)
class Placed:
    """A service with its lanes."""

    service: Service
    lanes: tuple[Lane, ...]


@dataclass(frozen=True, slots=True)
class Layout:
    """All services, with their places."""

    balance: Balance
    services: tuple[Placed, ...] = ()


def arranged(balance: Balance, before: Layout | None = None) -> Layout:
    """The places for ``balance``, with as little moved against ``before`` as can be."""
    known = {placed.service.name: placed for placed in before.services} if before else {}
    return Layout(balance, tuple(_placed(s, known.get(s.name)) for s in balance.services))


def _placed(service: Service, before: Placed | None) -> Placed:
    old = before.lanes if before else ()
    count = max(LANES, len(old), _power_of_two(len(service.versions)))
    size = max([SLOTS, *(len(lane.slots) for lane in old)])
    size = max([size, *(_power_of_two(len(version.replicas)) for version in service.versions)])
    owners = [lane.version.name if lane.version else None for lane in old]
    wanted = {version.name: version for version in service.versions}
    places = _places(owners, list(wanted), count)
    lanes = []
    for index, name in enumerate(places):
        slots = old[index].slots if index < len(old) else ()
        lanes.append(_lane(wanted[name] if name is not None else None, slots, size))
    return Placed(service, tuple(lanes))


def _lane(version: Version | None, before: tuple[Replica | None, ...], size: int) -> Lane:
    owners = [replica.place if replica else None for replica in before]
    wanted = {replica.place: replica for replica in version.replicas} if version else {}
    places = _places(owners, list(wanted), size)
    return Lane(version, tuple(wanted[place] if place is not None else None for place in places))


def _places(owners: list[_Owner | None], wanted: list[_Owner], count: int) -> list[_Owner | None]:
    """Each of ``wanted`` once, those among ``owners`` where they were."""
    owners = owners + [None] * (count - len(owners))
    places = [owner if owner in wanted else None for owner in owners]
    free = sorted(
        (at for at in range(count) if places[at] is None),
        key=lambda at: owners[at] is not None,  # those that nobody had come first
    )
    kept = set(places)
    for owner, at in zip((one for one in wanted if one not in kept), free, strict=False):
        places[at] = owner
    return places


def _power_of_two(number: int) -> int:
    return 1 << max(0, number - 1).bit_length()
