"""Replays load on simulated replicas under a policy, second by second.

Within a second requests come evenly and replicas work at their rate, so that queues are lines and
what is refused is exact: the door refuses what the queue ahead would make late (service.py), and
nothing that was let in is late. tests/benchmarks/autoscale compares it with one that follows each
request. A replica is paid for from its start to its end, its last work included.
"""

from __future__ import annotations

import math
import random
from dataclasses import dataclass, field

from benchmarks.autoscale.load import Load
from benchmarks.autoscale.policies.port import Policy
from benchmarks.autoscale.service import Service
from runtime.autoscale.reading import Reading


@dataclass(frozen=True, slots=True)
class Result:
    """``to_capacity_s``: from a step until the ready replicas could do its load; None: never, or no
    step. ``changes``: how often more or fewer were wanted."""

    requests: int
    missed: float
    replica_s: float
    most: int
    changes: int
    to_capacity_s: int | None

    @property
    def missed_share(self) -> float:
        """Of all requests."""
        return self.missed / max(1, self.requests)


@dataclass(slots=True)
class _Fleet:
    """What is there in this second."""

    service: Service
    random: random.Random
    ready: int
    starting: list[tuple[float, float]] = field(default_factory=list)
    """(second at which it is ready, seconds its start takes), in that order."""
    queue: float = 0.0
    held: list[tuple[float, float]] = field(default_factory=list)
    paid_s: float = 0.0

    @property
    def wanted(self) -> int:
        return self.ready + len(self.starting)

    def begin(self, now_s: float) -> tuple[float, ...]:
        """Those whose time has come are ready. Returns how long they took."""
        took = []
        while self.starting and self.starting[0][0] <= now_s:
            took.append(self.starting.pop(0)[1])
            self.ready += 1
        return tuple(took)

    def scale(self, wanted: int, now_s: float) -> None:
        """Starts what lacks; ends the youngest, and gives those that work time to finish."""
        for _ in range(wanted - self.wanted):
            takes_s = self.random.uniform(*self.service.start_s)
            self.starting.append((now_s + takes_s, takes_s))
        self.starting.sort()
        while self.starting and self.wanted > wanted:
            self.starting.pop()
        if self.wanted > wanted:
            gone = self.wanted - wanted
            share = self.queue / self.ready
            self.queue -= share * gone
            self.paid_s += gone * (share / self.service.rate_rps + self.service.full_batch_s)
            self.ready -= gone

    def work(self, arrivals: float, now_s: float) -> tuple[float, float]:
        """One second. Returns (answered, missed)."""
        self.paid_s += self.wanted
        if not self.ready:
            if arrivals:
                self.held.append((now_s, arrivals))
            return 0.0, 0.0
        late = self._release(now_s)
        capacity = self.ready * self.service.rate_rps
        room = capacity * self.service.queue_s
        ahead = self.queue + arrivals - capacity
        refused = min(arrivals, max(0.0, ahead - room, self.queue - room if ahead < 0 else 0.0))
        left = max(0.0, ahead - refused)
        answered = self.queue + arrivals - refused - left
        self.queue = left
        return answered, refused + late

    def _release(self, now_s: float) -> float:
        """What was held is let in. Returns how many of them are late: those are not in the queue,
        as their clients may have left, but missed."""
        late = 0.0
        for at_s, count in self.held:
            waited_s = now_s - at_s
            if waited_s + self.service.latency_s(0.0) > self.service.deadline_s:
                late += count
            else:
                self.queue += count
        self.held.clear()
        return late


@dataclass(slots=True)
class _Since:
    """What the counters grew by since the last reading."""

    seconds: int = 0
    arrived: float = 0.0
    answered: float = 0.0
    missed: float = 0.0
    took: list[float] = field(default_factory=list)

    def add(self, arrived: float, answered: float, missed: float, took: tuple[float, ...]) -> None:
        """One more second."""
        self.seconds += 1
        self.arrived += arrived
        self.answered += answered
        self.missed += missed
        self.took += took


def simulate(load: Load, service: Service, policy: Policy, *, first: int, seed: int = 0) -> Result:
    """Begins with ``first`` ready replicas."""
    fleet = _Fleet(service, random.Random(seed), first)
    missed = 0.0
    most = first
    changes = 0
    needed = _needed_after(load, service)
    capacity_at_s: int | None = None
    since = _Since()
    for now_s, count in enumerate(load.arrivals.tolist()):
        took = fleet.begin(now_s)
        answered, late = fleet.work(count, now_s)
        missed += late
        since.add(count, answered, late, took)
        if capacity_at_s is None and _is_up(load, fleet, needed, now_s):
            capacity_at_s = now_s
        if (now_s + 1) % policy.interval_s == 0:
            reading = _reading(fleet, now_s + 1.0, answered, since)
            since = _Since()
            wanted = policy.replicas(reading, fleet.wanted)
            if wanted != fleet.wanted:
                changes += 1
                fleet.scale(wanted, now_s + 1.0)
                most = max(most, fleet.wanted)
    total = int(load.arrivals.sum())
    held = sum(count for _, count in fleet.held)
    to_capacity_s = None if capacity_at_s is None else capacity_at_s - (load.step_at_s or 0)
    return Result(total, missed + held, fleet.paid_s, most, changes, to_capacity_s)


def _is_up(load: Load, fleet: _Fleet, needed: int | None, now_s: int) -> bool:
    """The step has come, and those that are ready can do its load."""
    if needed is None or load.step_at_s is None:
        return False
    return now_s >= load.step_at_s and fleet.ready >= needed


def _reading(fleet: _Fleet, at_s: float, answered: float, since: _Since) -> Reading:
    """What the replicas would say after a second in which they answered so many."""
    if not fleet.ready:
        held = math.ceil(sum(count for _, count in fleet.held))
        return Reading(at_s, 0, len(fleet.starting), 0, 0.0, 0.0, 0.0, 0.0, 0.0, held)
    service, seconds = fleet.service, since.seconds
    rate = min(answered / fleet.ready, service.rate_rps)
    in_flight = fleet.queue + fleet.ready * service.in_flight(rate)
    drain_s = fleet.queue / (fleet.ready * service.rate_rps) + service.latency_s(rate)
    return Reading(
        at_s,
        fleet.ready,
        len(fleet.starting),
        0,
        in_flight,
        drain_s,
        since.arrived / seconds,
        since.answered / seconds,
        since.missed / seconds,
        0,
        tuple(since.took),
    )


def _needed_after(load: Load, service: Service) -> int | None:
    """Replicas for the mean load of the minute after the step."""
    if load.step_at_s is None:
        return None
    after = load.arrivals[load.step_at_s : load.step_at_s + 60]
    return math.ceil(float(after.mean()) / service.rate_rps)
