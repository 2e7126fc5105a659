"""What clients see behind HAProxy when something ends or changes under load; every answer is
checked.

    python -m benchmarks.balance.faults [--times 20]

HAProxy reloaded, its worker killed, versions rolled over and keys renewed, each so many times; then
one of the two replicas killed.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import os
import signal
import tempfile
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path

import uvloop

from benchmarks import cpu
from benchmarks.balance.stand import Stand, stand
from benchmarks.faultload import Event, Fate, FaultLoad, counts
from benchmarks.outcome import Finding, Outcome, load, table
from benchmarks.rates import Plan
from benchmarks.subjects import Subject, digits
from runtime.balance import Balance, Keys, Limits, Replica, Service, Version, key_digest_of
from runtime.balance.errors import RuntimeApiError

CLIENTS = 16
TIMES = 20
STEADY_S = 0.5
BETWEEN_S = 0.1
KEY = "the-key-of-this-benchmark-0123456789"
REROUTED_S = 1.0
Act = Callable[[int], Awaitable[None]]


def faults(plan: Plan, times: int = TIMES) -> Outcome:
    """Runs all; a part of the suite."""
    outcome, rows = Outcome("balance-faults"), []
    subject = digits(plan.scratch)
    with stand(subject, "json", plan.scratch, threads=0) as found:
        service = _Service(found)
        cases: list[tuple[str, int, Act, int | None]] = [
            ("reload", times, service.reload, 0),
            ("update from one version to the other", times, service.roll, 0),
            ("renewal of a key", times, service.renew, 0),
            ("kill -9 of HAProxy's worker", times, service.kill_haproxy, None),
            ("kill -9 of one of two replicas", 1, service.kill_replica, None),
        ]
        for what, number, act, most in cases:
            events = uvloop.run(_under_load(found, subject, number, act))
            failed = [event for event in events if event.fate is not Fate.RIGHT]
            refused = sum(event.fate is Fate.REFUSED for event in events)
            gap_s = _longest_gap_s(events)
            said = ", ".join(f"{n} {fate}" for fate, n in sorted(counts(events).items()))
            print(
                f"  {what} x {number}: {said}; longest without an answer {gap_s:.3f} s", flush=True
            )
            rows.append([what, f"{number}", f"{len(events)}", f"{len(failed)}", f"{gap_s:.2f}"])
            if most is not None:
                reach, reached = f"{most} failed", len(failed) <= most
            else:
                reach = f"what was under way only (<= {CLIENTS} each), none refused, <= 1 s"
                reached = len(failed) <= CLIENTS * number and not refused and gap_s <= REROUTED_S
            measured = f"{len(failed)} of {len(events)} failed, {refused} refused, {gap_s:.2f} s"
            outcome.findings.append(Finding(f"{what}, {number} times", reach, measured, reached))
    header = ["", "times", "requests", "failed", "longest without an answer, s"]
    outcome.tables.append(table(header, rows))
    return outcome


class _Service:
    """The stand's service, as its changes are made."""

    def __init__(self, found: Stand) -> None:
        self._found = found
        self._places = [Replica("127.0.0.1", server.port) for server in found.replicas]
        self._keys = [KEY, "another-" + KEY]

    async def reload(self, number: int) -> None:
        """The queue's limit is another each time."""
        await self._apply([self._both()], queue=900 + number)

    async def roll(self, number: int) -> None:
        """The new version comes beside the old one, gets its requests, and is alone."""
        old, new = (Version(f"v{number + n}", 1, (self._places[(number + n) % 2],)) for n in (1, 2))
        before = Version(old.name, 0, old.replicas)
        await self._apply([old, Version(new.name, 0, new.replicas)])
        await self._apply([old, new])
        await self._apply([before, new])
        await self._apply([new])
        while not await asyncio.to_thread(self._found.balancer.is_idle, "a", old.replicas[0]):
            await asyncio.sleep(0.005)

    async def renew(self, number: int) -> None:
        """Clients use the other key while one is renewed."""
        self._keys = [KEY, f"{number}-{KEY}"]
        await self._apply([self._both()])

    async def kill_haproxy(self, number: int) -> None:
        """Returns when the next one answers."""
        del number
        [api] = self._found.balancer.keeper.apis()
        pid = api.info().pid
        os.kill(pid, signal.SIGKILL)
        while True:
            await asyncio.sleep(0.02)
            try:
                apis = self._found.balancer.keeper.apis()
                if len(apis) == 1 and apis[0].info().pid != pid:
                    return
            except RuntimeApiError:
                continue

    async def kill_replica(self, number: int) -> None:
        """All processes of it."""
        del number
        for pid in cpu.tree(self._found.replicas[0].pid):
            os.kill(pid, signal.SIGKILL)
        await asyncio.sleep(2 * REROUTED_S)

    def _both(self) -> Version:
        return Version("v1", 1, tuple(self._places))

    async def _apply(self, versions: list[Version], queue: int = 1000) -> None:
        service = Service(
            "a",
            self._found.front,
            tuple(versions),
            keys=Keys(*(key_digest_of(key) for key in self._keys)),
            limits=Limits(queue=queue),
        )
        await asyncio.to_thread(self._found.balancer.apply, Balance((service,)))


async def _under_load(found: Stand, subject: Subject, times: int, act: Act) -> list[Event]:
    """What became of the requests. Each has the key."""
    request = found.request
    keyed = replace(request, headers={**request.headers, "Authorization": f"Bearer {KEY}"})
    async with FaultLoad(found.front, [keyed.bytes()], subject.is_right, CLIENTS) as running:
        await asyncio.sleep(STEADY_S)
        for number in range(times):
            await act(number)
            await asyncio.sleep(BETWEEN_S)
        await asyncio.sleep(STEADY_S)
    return running.events


def _longest_gap_s(events: list[Event]) -> float:
    """Between two right answers."""
    times = sorted(event.at_s for event in events if event.fate is Fate.RIGHT)
    return max((b - a for a, b in itertools.pairwise(times)), default=float("inf"))


def main() -> None:
    """Prints what was found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--times", type=int, default=TIMES)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="inferry-bench-") as scratch:
        before = load()
        outcome = faults(Plan(1, 1, Path(scratch)), asked.times)
    print(f"\nload average {before:.2f}, then {load():.2f}")
    for finding in outcome.findings:
        print(f"{finding.what}: {finding.measured} ({finding.reach})")
    print("\n".join(outcome.tables))


if __name__ == "__main__":
    main()
