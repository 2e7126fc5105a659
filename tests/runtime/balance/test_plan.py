"""From any state of HAProxy to any other, with a simulated one; no request goes astray."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.balance import Balance, Replica, Service, Version
from runtime.balance.configuration import lane_name, slot_name
from runtime.balance.layout import Layout, arranged
from runtime.balance.maps import Entries, maps
from runtime.balance.plan import (
    ReplaceMap,
    SetMaxRequests,
    SetPlace,
    SetState,
    SetWeight,
    Step,
    last_steps,
    plan,
)
from runtime.balance.states import Server


@dataclass
class Simulated:
    """What HAProxy has after it was started with a layout, and each step since."""

    servers: dict[tuple[str, str], Server] = field(default_factory=dict)
    entries: dict[str, Entries] = field(default_factory=dict)

    @classmethod
    def started(cls, layout: Layout) -> Simulated:
        made = cls(entries=maps(layout))
        for placed in layout.services:
            for index, lane in enumerate(placed.lanes):
                for slot, replica in enumerate(lane.slots):
                    one = server(lane_name(placed.service.name, index), slot_name(slot), replica)
                    made.servers[one.key] = one
        return made

    def act(self, step: Step) -> None:
        if isinstance(step, ReplaceMap):
            self.entries[step.file] = step.entries
            return
        backend, _, name = step.server.partition("/")
        before = self.servers[backend, name]
        match step:
            case SetPlace(_, address, port):
                assert before.admin == "maintenance"
                after = replace(before, address=address, port=port)
            case SetState(_, state):
                after = replace(before, admin=state)
            case SetWeight(_, weight):
                after = replace(before, weight=weight)
            case SetMaxRequests(_, number):
                after = replace(before, max_requests=number)
        self.servers[backend, name] = after

    def reachable(self) -> set[tuple[str, str, int]]:
        """Lanes and the replicas that get requests."""
        lanes = {lane for _, lane in self.entries["maps/a.split"]}
        return {
            (one.backend, one.address, one.port)
            for one in self.servers.values()
            if one.admin == "ready" and one.backend.removeprefix("a.") in lanes
        }

    def served_lanes(self) -> set[str]:
        return {one.backend for one in self.servers.values() if one.admin == "ready"}


def server(backend: str, name: str, replica: Replica | None) -> Server:
    is_ready = replica is not None and not replica.is_draining
    return Server(
        backend=backend,
        name=name,
        address=replica.address if replica else "127.0.0.1",
        port=replica.port if replica else 1,
        admin="ready" if is_ready else "maintenance",
        is_up=is_ready,
        weight=replica.weight if replica else 1,
        max_requests=1_000_000,
        in_flight=0,
        queued=0,
        requests=0,
        failed_connections=0,
        failed_answers=0,
        retried=0,
        redispatched=0,
        answers_5xx=0,
        check="",
    )


replicas = st.builds(
    Replica,
    st.just("127.0.0.1"),
    st.integers(2, 12),
    weight=st.integers(1, 3),
    is_draining=st.booleans(),
)


@st.composite
def balances(draw: st.DrawFn) -> Balance:
    versions = draw(
        st.lists(
            st.builds(
                Version,
                st.sampled_from(["v1", "v2", "v3"]),
                st.integers(0, 2),
                st.lists(replicas, max_size=4, unique_by=lambda r: r.place).map(tuple),
                max_requests=st.integers(0, 2),
            ),
            max_size=3,
            unique_by=lambda v: v.name,
        ).filter(lambda found: not found or any(one.share for one in found))
    )
    return Balance((Service("a", 80, tuple(versions)),))


@settings(deadline=None, max_examples=50)
@given(balances(), balances(), st.integers(0, 30))
def test_a_plan_reaches_what_is_declared_even_when_it_was_broken_off(
    first: Balance, second: Balance, steps: int
) -> None:
    before = arranged(first)
    haproxy = Simulated.started(before)
    after = arranged(second, before)
    for step in plan(after, list(haproxy.servers.values()), haproxy.entries)[:steps]:
        haproxy.act(step)
    for step in plan(after, list(haproxy.servers.values()), haproxy.entries):
        haproxy.act(step)
    assert plan(after, list(haproxy.servers.values()), haproxy.entries) == ()
    assert haproxy.entries == maps(after)
    wanted = {
        (lane_name("a", at), *replica.place)
        for at, lane in enumerate(after.services[0].lanes)
        for replica in lane.slots
        if replica and lane.version and lane.version.share and not replica.is_draining
    }
    assert haproxy.reachable() == wanted


@settings(deadline=None, max_examples=50)
@given(balances(), balances())
def test_at_no_step_is_a_lane_left_alone_or_shared(first: Balance, second: Balance) -> None:
    before = arranged(first)
    haproxy, after = Simulated.started(before), arranged(second, before)
    lasting = haproxy.served_lanes() & Simulated.started(after).served_lanes()
    for step in plan(after, list(haproxy.servers.values()), haproxy.entries):
        haproxy.act(step)
        assert lasting <= haproxy.served_lanes()
        for backend, address, port in haproxy.reachable():
            assert (address, port) in declared(before, after, backend)


def declared(before: Layout, after: Layout, backend: str) -> set[tuple[str, int]]:
    """Replicas of the one version that has that lane before, after, or both times."""
    at = int(backend.removeprefix("a."))
    found, names = set(), set()
    for layout in (before, after):
        lanes = layout.services[0].lanes
        version = lanes[at].version if at < len(lanes) else None
        if version is not None:
            names.add(version.name)
            found |= {replica.place for replica in version.replicas}
    assert len(names) == 1
    return found


@pytest.mark.parametrize("missing", ["a.0", "a.1"])
def test_what_an_older_run_does_not_have_gets_no_steps(missing: str) -> None:
    layout = arranged(Balance((Service("a", 80, (Version("v1", 1, (Replica("::1", 9),)),)),)))
    empty = Simulated.started(arranged(Balance((Service("a", 80),))))
    known = [one for one in empty.servers.values() if one.backend != missing]
    steps = plan(layout, known, {})
    assert all(not isinstance(step, ReplaceMap) for step in steps)
    assert {step.server for step in steps if not isinstance(step, ReplaceMap)} == (
        {"a.0/s1"} if missing == "a.1" else set()
    )


def test_a_process_that_ends_is_told_of_keys_and_of_shares_between_what_it_knows() -> None:
    keys, split = ReplaceMap("maps/a.keys", ()), ReplaceMap("maps/a.split", ())
    other = ReplaceMap("maps/b.split", (("0", "0"),))
    assert last_steps((SetState("a.0/s1", "drain"), keys, split, other)) == (keys, other)
    assert last_steps((keys, split, other)) == (keys, split, other)
    assert last_steps((SetPlace("b.1/s2", "::1", 1), split)) == (split,)
    assert last_steps(()) == ()
