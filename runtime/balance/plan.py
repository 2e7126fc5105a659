"""From what HAProxy has to what it should have, in the steps of its runtime API; pure.

Compared is what HAProxy itself says, not what it was told before: a plan that was broken off, or
made by a keeper that was killed, is made good by the next one. First come what is new and what is
wider, then the maps that send requests there, then what ends: at no moment is a request sent where
nobody is.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from runtime.balance import maps
from runtime.balance.configuration import lane_name, slot_name
from runtime.balance.declared import Replica
from runtime.balance.layout import Layout
from runtime.balance.maps import Entries
from runtime.balance.states import Admin, Server


@dataclass(frozen=True, slots=True)
class SetPlace:
    """Only in maintenance, which it leaves alone."""

    server: str
    address: str
    port: int


@dataclass(frozen=True, slots=True)
class SetState:
    """See RuntimeApi.set_state."""

    server: str
    state: Admin


@dataclass(frozen=True, slots=True)
class SetWeight:
    """See RuntimeApi.set_weight."""

    server: str
    weight: int


@dataclass(frozen=True, slots=True)
class SetMaxRequests:
    """See RuntimeApi.set_max_requests."""

    server: str
    number: int


@dataclass(frozen=True, slots=True)
class ReplaceMap:
    """See RuntimeApi.replace_map."""

    file: str
    entries: Entries


Step = SetPlace | SetState | SetWeight | SetMaxRequests | ReplaceMap


def plan(
    layout: Layout, servers: Sequence[Server], entries: Mapping[str, Entries]
) -> tuple[Step, ...]:
    """The steps. What one process does not have (an older one, of before a reload) gets none."""
    known = {server.key: server for server in servers}
    first: list[Step] = []
    last: list[Step] = []
    for key, replica, limit in _wanted(layout):
        server = known.get(key)
        if server is None:
            continue
        if replica is None or replica.is_draining:
            last += _ending(server, replica)
        else:
            first += _working(server, replica, limit)
    changed: list[Step] = [
        ReplaceMap(file, wanted)
        for file, wanted in maps.maps(layout).items()
        if file in entries and set(entries[file]) != set(wanted)
    ]
    return (*first, *changed, *last)


def last_steps(steps: Sequence[Step]) -> tuple[Step, ...]:
    """Those for a process that only finishes what it had. HAProxy changes no server there any more
    ("Proxy is disabled"), so of a service whose servers are others by now the requests stay where
    they went; keys are always told."""
    changed = {_service_of(step.server) for step in steps if not isinstance(step, ReplaceMap)}
    return tuple(
        step
        for step in steps
        if isinstance(step, ReplaceMap)
        and (maps.is_keys_file(step.file) or maps.service_of(step.file) not in changed)
    )


def _service_of(server: str) -> str:
    return server.partition("/")[0].rpartition(".")[0]


def _wanted(layout: Layout) -> Iterator[tuple[tuple[str, str], Replica | None, int]]:
    for placed in layout.services:
        for index, lane in enumerate(placed.lanes):
            limit = lane.version.most_requests if lane.version else 0
            for slot, replica in enumerate(lane.slots):
                name = lane_name(placed.service.name, index)
                yield (name, slot_name(slot)), replica, limit


def _working(server: Server, replica: Replica, limit: int) -> Iterator[Step]:
    name = "/".join(server.key)
    is_elsewhere = (server.address, server.port) != replica.place
    if is_elsewhere:
        if server.admin != "maintenance":
            yield SetState(name, "maintenance")
        yield SetPlace(name, *replica.place)
    if server.max_requests != limit:
        yield SetMaxRequests(name, limit)
    if server.weight != replica.weight:
        yield SetWeight(name, replica.weight)
    if is_elsewhere or server.admin != "ready":
        yield SetState(name, "ready")


def _ending(server: Server, replica: Replica | None) -> Iterator[Step]:
    name = "/".join(server.key)
    if replica is None:
        if server.admin != "maintenance":
            yield SetState(name, "maintenance")
    elif (server.address, server.port) != replica.place:
        # Nothing of it can be in flight here: it only gets its name back for whoever looks.
        if server.admin != "maintenance":
            yield SetState(name, "maintenance")
        yield SetPlace(name, *replica.place)
    elif server.admin == "ready":
        yield SetState(name, "drain")
