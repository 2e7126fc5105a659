"""Who has which place in HAProxy: each version a *lane* of its service, each replica a *slot* of
its lane.

HAProxy is configured with more lanes and slots than are used. A version or replica that comes or
goes fills or empties one over the runtime API; only when they do not suffice, or a service itself
changes, HAProxy is reloaded. What has a place keeps it. What is new never gets the place of
one that leaves now: for a moment each would get requests of the other. Nor does a replica get a
slot that still works on a request of its last owner: when that ends, HAProxy keeps the connection,
and would send a request of the new replica down it.
"""

from __future__ import annotations

from collections.abc import Hashable, Set
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


Busy = Set[tuple[str, int, int]]
"""Slots that work on requests: service, lane, slot."""


def arranged(balance: Balance, before: Layout | None = None, busy: Busy = frozenset()) -> Layout:
    """The places for ``balance``, with as little moved against ``before`` as can be."""
    known = {placed.service.name: placed for placed in before.services} if before else {}
    return Layout(balance, tuple(_placed(s, known.get(s.name), busy) for s in balance.services))


def _placed(service: Service, before: Placed | None, busy: Busy) -> Placed:
    old = before.lanes if before else ()
    owners = [lane.version.name if lane.version else None for lane in old]
    wanted = {version.name: version for version in service.versions}
    places = _places(owners, list(wanted), least=LANES, busy=set())
    lanes = []
    for index, name in enumerate(places):
        slots = old[index].slots if index < len(old) else ()
        taken = {slot for at, lane, slot in busy if (at, lane) == (service.name, index)}
        lanes.append(_lane(wanted[name] if name is not None else None, slots, taken))
    size = max(len(lane.slots) for lane in lanes)
    return Placed(service, tuple(_grown(lane, size) for lane in lanes))


def _lane(version: Version | None, before: tuple[Replica | None, ...], busy: Set[int]) -> Lane:
    owners = [replica.place if replica else None for replica in before]
    wanted = {replica.place: replica for replica in version.replicas} if version else {}
    places = _places(owners, list(wanted), least=SLOTS, busy=busy)
    return Lane(version, tuple(wanted[place] if place is not None else None for place in places))


def _grown(lane: Lane, size: int) -> Lane:
    return Lane(lane.version, lane.slots + (None,) * (size - len(lane.slots)))


def _places(
    owners: list[_Owner | None], wanted: list[_Owner], *, least: int, busy: Set[int]
) -> list[_Owner | None]:
    """Each of ``wanted`` once: where it was among ``owners``, or else in a place that nobody had
    and that is not ``busy``. There are as many places as before, or more."""
    new = [owner for owner in wanted if owner not in owners]
    count = max(least, len(owners))
    while len(free := _free(owners, count, busy)) < len(new):
        count = _power_of_two(count + 1)
    places = [owner if owner in wanted else None for owner in owners]
    places += [None] * (count - len(owners))
    for owner, at in zip(new, free, strict=False):
        places[at] = owner
    return places


def _free(owners: list[_Owner | None], count: int, busy: Set[int]) -> list[int]:
    return [
        at for at in range(count) if at not in busy and (at >= len(owners) or owners[at] is None)
    ]


def _power_of_two(number: int) -> int:
    return 1 << max(0, number - 1).bit_length()
