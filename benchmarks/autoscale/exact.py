"""Follows each request through each batch: slower by a thousand times than simulator.py, which
tests/benchmarks/autoscale holds against it.

Requests come at random moments of their second, go to the replica with the fewest in flight, and
are refused there when the replica expects to be late: after what it has, and a batch of the
largest size, as others may join this one's. A replica runs what has gathered whenever it is free,
but no more than lets the first of them be in time.

A door that reckons with a batch of this request only (``is_tight``) lets in whose batches must then
be small to be in time, which makes all later ones late too: 5 % too much load and 9 of 10 miss.
"""

from __future__ import annotations

import heapq
import math
import random
from collections import deque
from dataclasses import dataclass, field

from benchmarks.autoscale.load import Load
from benchmarks.autoscale.policies.port import Policy
from benchmarks.autoscale.service import Service
from benchmarks.autoscale.simulator import Result
from runtime.autoscale.reading import Reading


@dataclass(slots=True, eq=False)
class _Replica:
    """``waiting``: when each came. ``free_s``: when its running batch ends."""

    began_s: float
    waiting: deque[float] = field(default_factory=deque)
    running: list[float] = field(default_factory=list)
    free_s: float = 0.0
    leaves: bool = False

    @property
    def in_flight(self) -> int:
        return len(self.waiting) + len(self.running)

    def drain_s(self, now_s: float, service: Service) -> float:
        """Until all it has would be answered."""
        count = len(self.waiting)
        batches = math.ceil(count / service.max_batch)
        left_s = max(0.0, self.free_s - now_s) if self.running else 0.0
        return left_s + count * service.a_s + batches * service.b_s


@dataclass(slots=True)
class _World:
    service: Service
    random: random.Random
    is_tight: bool
    ready: list[_Replica] = field(default_factory=list)
    starting: list[tuple[float, float]] = field(default_factory=list)
    ends: list[tuple[float, int, _Replica]] = field(default_factory=list)
    held: list[float] = field(default_factory=list)
    took: list[float] = field(default_factory=list)
    paid_s: float = 0.0
    answered: int = 0
    missed: int = 0
    number: int = 0

    @property
    def wanted(self) -> int:
        return len(self.ready) + len(self.starting)

    def run_until(self, until_s: float) -> None:
        """All batches that end by then, and all replicas that are ready by then."""
        while True:
            end_s = self.ends[0][0] if self.ends else math.inf
            ready_s = self.starting[0][0] if self.starting else math.inf
            if min(end_s, ready_s) > until_s:
                return
            if ready_s <= end_s:
                self._ready(*self.starting.pop(0))
            else:
                self._ended(*heapq.heappop(self.ends))

    def arrive(self, now_s: float) -> None:
        """One request."""
        if not self.ready:
            self.held.append(now_s)
            return
        replica = min(self.ready, key=_in_flight)
        service = self.service
        own_s = service.a_s + service.b_s if self.is_tight else service.full_batch_s
        if replica.drain_s(now_s, service) + own_s > service.deadline_s:
            self.missed += 1
            return
        replica.waiting.append(now_s)
        if not replica.running:
            self._run(replica, now_s)

    def scale(self, wanted: int, now_s: float) -> None:
        for _ in range(wanted - self.wanted):
            takes_s = self.random.uniform(*self.service.start_s)
            self.starting.append((now_s + takes_s, takes_s))
        self.starting.sort()
        while self.starting and self.wanted > wanted:
            ready_s, takes_s = self.starting.pop()
            self.paid_s += now_s - (ready_s - takes_s)
        for replica in sorted(self.ready, key=_in_flight)[: max(0, self.wanted - wanted)]:
            self.ready.remove(replica)
            replica.leaves = True
            if not replica.in_flight:
                self.paid_s += now_s - replica.began_s

    def _ready(self, ready_s: float, takes_s: float) -> None:
        self.ready.append(_Replica(ready_s - takes_s))
        self.took.append(takes_s)
        for came_s in self.held:
            if ready_s - came_s + self.service.latency_s(0.0) > self.service.deadline_s:
                self.missed += 1
            else:
                self.ready[-1].waiting.append(came_s)
        self.held.clear()
        if self.ready[-1].waiting:
            self._run(self.ready[-1], ready_s)

    def _run(self, replica: _Replica, now_s: float) -> None:
        service = self.service
        left_s = replica.waiting[0] + service.deadline_s - now_s
        in_time = int((left_s - service.b_s) / service.a_s + 1e-9)
        size = max(1, min(len(replica.waiting), service.max_batch, in_time))
        replica.running = [replica.waiting.popleft() for _ in range(size)]
        replica.free_s = now_s + size * self.service.a_s + self.service.b_s
        self.number += 1
        heapq.heappush(self.ends, (replica.free_s, self.number, replica))

    def _ended(self, now_s: float, _: int, replica: _Replica) -> None:
        for came_s in replica.running:
            is_late = now_s - came_s > self.service.deadline_s + 1e-9
            self.missed += is_late
            self.answered += 1
        replica.running = []
        if replica.waiting:
            self._run(replica, now_s)
        elif replica.leaves:
            self.paid_s += now_s - replica.began_s


def follow(
    load: Load,
    service: Service,
    policy: Policy,
    *,
    first: int,
    seed: int = 0,
    is_tight: bool = False,
) -> Result:
    """As simulator.simulate."""
    ready = [_Replica(0.0) for _ in range(first)]
    world = _World(service, random.Random(seed), is_tight, ready)
    most, changes = first, 0
    end_s = float(len(load.arrivals))
    for second, count in enumerate(load.arrivals.tolist()):
        answered, missed = world.answered, world.missed
        world.took.clear()
        for at_s in sorted(second + world.random.random() for _ in range(count)):
            world.run_until(at_s)
            world.arrive(at_s)
        world.run_until(second + 1.0)
        if (second + 1) % policy.interval_s == 0:
            before = (world.answered - answered, world.missed - missed)
            wanted = policy.replicas(_reading(world, second + 1.0, count, *before), world.wanted)
            if wanted != world.wanted:
                changes += 1
                world.scale(wanted, second + 1.0)
                most = max(most, world.wanted)
    paid_s = world.paid_s + sum(end_s - one.began_s for one in world.ready)
    paid_s += sum(end_s - (ready_s - takes_s) for ready_s, takes_s in world.starting)
    total = int(load.arrivals.sum())
    return Result(total, world.missed + len(world.held), paid_s, most, changes, None)


def _reading(world: _World, at_s: float, count: int, answered: int, missed: int) -> Reading:
    ready = len(world.ready)
    drains = [one.drain_s(at_s, world.service) for one in world.ready]
    return Reading(
        at_s,
        ready,
        len(world.starting),
        0,
        float(sum(one.in_flight for one in world.ready)),
        sum(drains) / max(1, ready),
        float(count) if ready else 0.0,
        float(answered),
        float(missed),
        len(world.held),
        tuple(world.took),
    )


def _in_flight(replica: _Replica) -> int:
    return replica.in_flight
