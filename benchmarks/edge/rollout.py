"""Rollouts over 1,000 simulated devices (T10): how many get a bad version before it is stopped.

    python -m benchmarks.edge.rollout                 # prints figures as JSON

The hub is real: its database, layers, publishing and engine. Devices are simulated: each reads what
it shall run, and some simulated seconds later reports how that went, as an agent would.
"""

from __future__ import annotations

import argparse
import heapq
import random
import statistics
import tempfile
import time
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from benchmarks.outcome import Finding
from edge.hub import devices, publishing
from edge.hub.database import Database
from edge.hub.deployments import Deployments
from edge.hub.rollout_engine import RolloutEngine
from edge.hub.rollout_policy import Policy
from edge.hub.rollout_states import Member, Rollout
from edge.hub.rollout_steps import Seen, step
from edge.hub.rollouts import Rollouts, RolloutView
from edge.layering import Layer
from edge.messages.codec import encode
from edge.messages.desired import Module
from edge.messages.reported import HostReport, ModuleReport, OutboxReport, Reported
from edge.messages.status import Status

OLD, NEW = "sha256:" + "0" * 64, "sha256:" + "1" * 64
MODULE = Module("digits", "digits:1", OLD)
HOST = HostReport(1, 1, 1, 1, 0.0, 1.0, "boot")
CAUTIOUS = Policy(
    batches=("3%", "7%", "25%", "100%"),
    success_percent=98.0,
    at_once="1%",
    timeout_s=600.0,
)
"""Seventy devices must all be well before the first quarter gets it: one in ten that fails is found
in 1,999 of 2,000 fleets."""
BEYOND = 0.05
"""Of the fleet, may have a bad version in addition to the first batch."""


@dataclass(frozen=True, slots=True)
class Bad:
    """What goes wrong with the new version. ``release``: everywhere. ``devices``: on these.
    ``stuck``: these say that they pull, for ever. ``offline``: these say nothing."""

    release: bool = False
    devices: Collection[str] = ()
    stuck: Collection[str] = ()
    offline: Collection[str] = ()


class Fleet:
    """A hub and its devices, at a time of their own. ``ticks_s``: how long each step of the engine
    took, in real seconds."""

    def __init__(self, folder: Path, count: int, bad: Bad, seed: int) -> None:
        self.names = [f"device-{index:05}" for index in range(count)]
        self.now_ms = 1_000_000_000
        self.ticks_s: list[float] = []
        self.database = Database(folder / "hub.db")
        self.database.migrate()
        self.rollouts = Rollouts(self.database, lambda: self.now_ms)
        self.deployments = Deployments(self.database, lambda: self.now_ms)
        self._engine = RolloutEngine(self.database)
        self._bad = bad
        self._random = random.Random(seed)
        self._due: list[tuple[int, str]] = []
        self._number = 0
        self._enrol()

    def deploy(self) -> None:
        """The old version, everywhere, and well."""
        layer = Layer("all", modules=(MODULE,))
        self._answer_later(self.deployments.put(layer, by="benchmark"))
        self._report_due(self.now_ms + 3_600_000)

    def roll_out(self, policy: Policy, max_s: float = 1e6) -> RolloutView:
        """The new version, until it is through or was taken back. Raises TimeoutError after
        ``max_s`` simulated seconds."""
        view = self.rollouts.start(
            "all", "digits", image="digits:2", digest=NEW, by="benchmark", policy=policy
        )
        end_ms = self.now_ms + int(max_s * 1000)
        while view.state in ("running", "rolling back"):
            self._tick()
            next_ms = self._due[0][0] if self._due else self.now_ms + 15_000
            self.now_ms = max(self.now_ms + 1000, min(next_ms, self.now_ms + 15_000))
            self._report_due(self.now_ms)
            if self.now_ms > end_ms:
                raise TimeoutError(f"still {view.state} after {max_s:.0f} s")
            view = self.rollouts.show(view.id)
        return view

    def with_new(self) -> int:
        """How many devices shall run the new version."""
        with self.database.reader() as connection:
            found = (publishing.desired_for(connection, name) for name in self.names)
            return sum(each is not None and each.modules[0].digest == NEW for each in found)

    def _enrol(self) -> None:
        with self.database.writer() as connection:
            connection.executemany(
                "INSERT INTO devices (name, enrolled_at_ms, tags) VALUES (?, ?, '{}')",
                [(name, self.now_ms) for name in self.names],
            )
            for name in self.names:
                status = Status(1, name, 1, name not in self._bad.offline)
                devices.keep_status(connection, status, encode(status), self.now_ms)

    def _tick(self) -> None:
        begin = time.perf_counter()
        changed = self._engine.tick(self.now_ms)
        self.ticks_s.append(time.perf_counter() - begin)
        self._answer_later(changed)

    def _answer_later(self, names: Collection[str]) -> None:
        for name in names:
            if name not in self._bad.offline:
                delay_ms = int(self._random.uniform(5.0, 60.0) * 1000)
                heapq.heappush(self._due, (self.now_ms + delay_ms, name))

    def _report_due(self, until_ms: int) -> None:
        with self.database.writer() as connection:
            while self._due and self._due[0][0] <= until_ms:
                _, name = heapq.heappop(self._due)
                desired = publishing.desired_for(connection, name)
                assert desired is not None
                self._number += 1
                report = self._report(name, desired.modules[0])
                reported = Reported(
                    1, name, 1, self._number, desired.version, desired.version, (report,), HOST,
                    OutboxReport(0, 0),
                )  # fmt: skip
                devices.keep_reported(connection, reported, encode(reported), self.now_ms)

    def _report(self, name: str, module: Module) -> ModuleReport:
        wanted = module.digest
        if wanted == NEW and name in self._bad.stuck:
            return ModuleReport("digits", "digits:1", OLD, wanted, "pulling", "healthy")
        if wanted == NEW and (self._bad.release or name in self._bad.devices):
            return ModuleReport(
                "digits", "digits:1", OLD, wanted, "failed", "healthy", error="golden input 1"
            )
        return ModuleReport("digits", module.image, wanted, wanted, "idle", "healthy")


@dataclass(slots=True)
class Run:
    """How one rollout went. ``beyond``: devices that were exposed in addition to the first batch.
    ``restored``: devices that run the old version at its end."""

    view: RolloutView
    restored: int
    took_s: float
    ticks_s: list[float] = field(default_factory=list)

    @property
    def beyond(self) -> int:
        return max(0, self.view.exposed - self.view.targets[0])


def run(count: int, bad: Bad, seed: int, policy: Policy = CAUTIOUS) -> Run:
    """One rollout over a fleet of ``count``."""
    with tempfile.TemporaryDirectory() as folder:
        fleet = Fleet(Path(folder), count, bad, seed)
        fleet.deploy()
        begin_ms = fleet.now_ms
        view = fleet.roll_out(policy)
        took_s = (fleet.now_ms - begin_ms) / 1000
        return Run(view, count - fleet.with_new(), took_s, fleet.ticks_s)


def some(count: int, part: float, seed: int) -> set[str]:
    """A part of a fleet's devices, by chance."""
    names = [f"device-{index:05}" for index in range(count)]
    return set(random.Random(seed).sample(names, round(count * part)))


def share_stopped(count: int, part_bad: float, policy: Policy, fleets: int) -> float:
    """In which share of fleets, a part of whose devices is bad, the rollout stops in time. Only
    the decisions, without a database: devices answer in the order in which they were told."""
    first = step(_rollout(0, policy), _members(count), _all_seen(count), 0)
    assert first.exposed
    return sum(
        _beyond(count, part_bad, policy, seed) < BEYOND * count for seed in range(fleets)
    ) / (fleets)


def _beyond(count: int, part_bad: float, policy: Policy, seed: int) -> int:
    rollout, members, seen = _rollout(seed, policy), _members(count), _all_seen(count)
    bad, now_ms, first = some(count, part_bad, seed), 0, 0
    good = ModuleReport("digits", "digits:2", NEW, NEW, "idle", "healthy")
    failed = ModuleReport("digits", "digits:1", OLD, NEW, "failed", "healthy")
    while rollout.state == "running":
        now_ms += 1000
        after = step(rollout, members, seen, now_ms)
        rollout, members = after.rollout, list(after.members)
        for name in after.exposed:
            seen[name] = Seen(report=failed if name in bad else good)
        exposed = sum(member.exposed_ms is not None for member in members)
        if rollout.batch == 0:
            first = exposed
        if exposed - first >= BEYOND * count:
            break
    return sum(member.exposed_ms is not None for member in members) - first


def _rollout(seed: int, policy: Policy) -> Rollout:
    new = msgspec.structs.replace(MODULE, digest=NEW, image="digits:2")
    return Rollout(seed, "all", "digits", MODULE, new, policy, "benchmark", 0, 0)


def _members(count: int) -> list[Member]:
    return [Member(f"device-{index:05}") for index in range(count)]


def _all_seen(count: int) -> dict[str, Seen]:
    return {f"device-{index:05}": Seen() for index in range(count)}


def measure(count: int, fleets: int, decisions: int) -> list[Finding]:
    """All figures."""
    return [
        _bad_release(count),
        _bad_devices(count, fleets),
        _many_decisions(count, decisions),
        _stuck(count),
        *_good(count),
        _composing(count),
    ]


def _reach(count: int) -> str:
    return f"stops with < {BEYOND * count:.0f} devices (5 %) beyond the first batch"


def _bad_release(count: int) -> Finding:
    found = run(count, Bad(release=True), 1)
    return Finding(
        f"rollout of a release that fails everywhere, {count} devices",
        _reach(count),
        f"{found.view.exposed} exposed, {found.beyond} beyond the first batch;"
        f" {found.restored} of {count} have the old version again",
        found.view.state == "rolled back"
        and found.beyond < BEYOND * count
        and found.restored == count,
    )


def _bad_devices(count: int, fleets: int) -> Finding:
    runs = [run(count, Bad(devices=some(count, 0.1, seed)), seed) for seed in range(fleets)]
    worst = max(runs, key=lambda each: each.beyond)
    is_restored = all(each.restored == count for each in runs)
    exposed = statistics.median(each.view.exposed for each in runs)
    return Finding(
        f"rollout over {count} devices, 10 % of them bad, {fleets} fleets",
        _reach(count),
        f"median {exposed:.0f} exposed; at most {worst.beyond} beyond the first batch;"
        f" the old version is back {'on all' if is_restored else 'not everywhere'}",
        worst.beyond < BEYOND * count and is_restored,
    )


def _many_decisions(count: int, decisions: int) -> Finding:
    share = share_stopped(count, 0.1, CAUTIOUS, decisions)
    usual = share_stopped(count, 0.1, Policy(), decisions)
    return Finding(
        f"the same, only the decisions, {decisions} fleets",
        "99.5 % of fleets stop in time",
        f"{share:.2%} with {', '.join(CAUTIOUS.batches)} and {CAUTIOUS.success_percent:g} %;"
        f" {usual:.2%} with the policy by default",
        share >= 0.995,
    )


def _stuck(count: int) -> Finding:
    bad = Bad(stuck=some(count, 0.1, 1), offline=some(count, 0.05, 2))
    found = run(count, bad, 3)
    limit_s = 2 * (CAUTIOUS.timeout_s + 60) * len(CAUTIOUS.batches)
    late = found.view.outcomes.get("timed out", 0)
    return Finding(
        f"rollout over {count} devices, 10 % stuck and 5 % offline",
        f"they fail after {CAUTIOUS.timeout_s:.0f} s each, and stop it",
        f"{late} timed out, {found.beyond} beyond the first batch; over after"
        f" {found.took_s:.0f} s (the way back included)",
        late > 0
        and found.view.state == "rolled back"
        and found.beyond < BEYOND * count
        and found.took_s < limit_s,
    )


def _good(count: int) -> list[Finding]:
    found = run(count, Bad(), 4)
    slowest_ms = max(found.ticks_s) * 1e3
    median_ms = statistics.median(found.ticks_s) * 1e3
    return [
        Finding(
            f"rollout of a good release over {count} devices",
            "reaches all",
            f"{found.view.succeeded} of {count} in {found.took_s / 60:.0f} simulated minutes",
            found.view.state == "completed" and found.view.succeeded == count,
        ),
        Finding(
            f"a step of that rollout in the hub, {count} devices",
            "< 1 s",
            f"median {median_ms:.1f} ms, longest {slowest_ms:.0f} ms",
            slowest_ms < 1000.0,
        ),
    ]


def _composing(count: int) -> Finding:
    with tempfile.TemporaryDirectory() as folder:
        fleet = Fleet(Path(folder), count, Bad(), 5)
        for index in range(20):
            module = msgspec.structs.replace(MODULE, name=f"m{index % 8}")
            condition = f'name ~ "*{index % 10}" or not name in ("a", "b")'
            layer = Layer(f"layer-{index}", condition, index, modules=(module,))
            fleet.deployments.put(layer, by="benchmark")
        begin = time.perf_counter()
        with fleet.database.writer() as connection:
            connection.execute("UPDATE desired SET state = NULL")  # as if all had another
            changed = publishing.refresh(connection, at_ms=1, who="benchmark", cause="all anew")
        took_s = time.perf_counter() - begin
    return Finding(
        f"desired states of {count} devices from 20 layers",
        "< 1 s",
        f"{took_s * 1e3:.0f} ms for {len(changed)} that changed",
        took_s < 1.0 and len(changed) == count,
    )


def main() -> None:
    """Prints figures as JSON."""
    parser = argparse.ArgumentParser(description="rollouts over simulated devices")
    parser.add_argument("--devices", type=int, default=1000)
    parser.add_argument("--fleets", type=int, default=20, help="with 10 %% bad devices")
    parser.add_argument("--decisions", type=int, default=1000, help="fleets without a database")
    asked = parser.parse_args()
    findings = measure(asked.devices, asked.fleets, asked.decisions)
    print(msgspec.json.format(msgspec.json.encode(findings), indent=2).decode())


if __name__ == "__main__":
    main()
