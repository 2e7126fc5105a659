"""What clients see when something happens to the server under load: ``kill -9`` of a server process
or of a script's worker each second, SIGHUP, SIGTERM. Every answer is checked."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import random
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import uvloop

from benchmarks import contestants, cpu
from benchmarks.connections import held_by
from benchmarks.contestants import Contestant
from benchmarks.faultload import Event, Fate, FaultLoad, counts, failed, recovery_s
from benchmarks.outcome import Finding, Outcome, table
from benchmarks.rates import Plan
from benchmarks.servers import Server, running
from benchmarks.subjects import digits
from benchmarks.wire import Request

CLIENTS = 32
STEADY_S = 1.5
SETTLE_S = 0.3
KILL_EVERY_S = 1.0
RELOADS = 5
DYING_S = 0.005
"""A signal reaches a process running on another core only so soon."""
WORKER = "scoring.worker"
TOKENS = 500


@dataclass(frozen=True, slots=True)
class Target:
    """A server under load, and the requests whose answers can be checked."""

    name: str
    contestant: Contestant
    requests: Sequence[Request]
    is_right: Callable[[int, bytes], bool]


@dataclass(frozen=True, slots=True)
class Kill:
    """One fault: when, and the clients' ports of the requests under way then, all of them and those
    on connections of the killed process."""

    at_s: float
    under_way: frozenset[int]
    taken: frozenset[int]

    def failures(self, events: Sequence[Event], until_s: float) -> tuple[int, int]:
        """How many requests failed from then until the next kill, and how many of them the killed
        process cannot have had: on another's connection, or sent after it was dead."""
        lost = failed(events, self.at_s, until_s)
        mine = [e for e in lost if e.port in self.taken and e.sent_s <= self.at_s + DYING_S]
        return len(lost), len(lost) - len(mine)


def faults(plan: Plan) -> Outcome:
    """All of them, one after another."""
    outcome = Outcome("faults")
    model, script = _model(plan), _script()
    kills = max(3, round(plan.seconds * 5))
    rows = [
        _kills(outcome, model, "a server process", server_processes, kills, plan),
        _kills(outcome, script, "a worker", workers, kills, plan),
    ]
    header = [
        "killed each second",
        "kills",
        "requests",
        "failed",
        "fates",
        "in the killed process, of all under way",
    ]
    header += ["full rate after s, median", "slowest"]
    outcome.tables.append(table(header, rows))
    for target in (model, script):
        _reload(outcome, target, plan)
        _terminate(outcome, target, plan)
    return outcome


def _model(plan: Plan) -> Target:
    subject = digits(plan.scratch)
    contestant = contestants.ours(subject.model)
    requests = [contestant.forms["json"](subject, row) for row in range(len(subject.rows))]
    return Target("digits", contestant, requests, subject.is_right)


def _script() -> Target:
    def is_right(index: int, body: bytes) -> bool:
        answer: object = json.loads(body)
        return answer == {"token": index}

    bodies = [json.dumps({"sleep_ms": 2, "token": token}).encode() for token in range(TOKENS)]
    requests = [Request("/score", body, {"Content-Type": "application/json"}) for body in bodies]
    return Target("score.py", contestants.our_script("score_busy.py"), requests, is_right)


def server_processes(root: int) -> list[int]:
    """Its children that serve: not workers, nor multiprocessing's trackers."""
    below = [pid for pid in cpu.tree(root)[1:] if _parent(pid) == root]
    return [
        pid for pid in below if not any(w in cpu.command_line(pid) for w in (WORKER, "_tracker"))
    ]


def workers(root: int) -> list[int]:
    """The processes that run a score.py."""
    return [pid for pid in cpu.tree(root) if WORKER in cpu.command_line(pid)]


def _parent(pid: int) -> int:
    with open(f"/proc/{pid}/stat") as stat:
        return int(stat.read().rpartition(")")[2].split()[1])


@contextlib.contextmanager
def _serving(target: Target, plan: Plan) -> Iterator[Server]:
    first, is_right = target.requests[0], target.is_right
    with running(target.contestant, first, lambda b: is_right(0, b), plan.scratch) as server:
        yield server


def _kills(
    outcome: Outcome,
    target: Target,
    what: str,
    victims: Callable[[int], list[int]],
    times: int,
    plan: Plan,
) -> list[str]:
    """A server process may take along what was under way on its connections; a worker, which runs
    one request at a time, that one."""
    prefix = f"`kill -9` of {what} each second under load ({target.name}):"
    with _serving(target, plan) as server:
        if not victims(server.pid):
            outcome.findings.append(Finding(prefix, "", f"there is no {what[2:]} to kill", None))
            return [f"{target.name}: {what}", *["-"] * 7]
        load, kills, began_s = uvloop.run(_under_kills(server, target, victims, times))
    events = load.events
    steady = (began_s + SETTLE_S, kills[0].at_s)
    recoveries = sorted(recovery_s(events, steady, kill.at_s) for kill in kills)
    ends = [kill.at_s for kill in kills[1:]] + [float("inf")]
    lost = [kill.failures(events, end) for kill, end in zip(kills, ends, strict=True)]
    wrong = sum(event.fate is Fate.WRONG for event in events)
    total, most = len(events), max(count for count, _ in lost)
    print(f"  {target.name}, {what}: {counts(events)}, recovered {recoveries}", flush=True)
    strays = sum(stray for _, stray in lost)
    reach, is_bounded = "0 outside the killed process", strays == 0
    if victims is workers:
        reach, is_bounded = "<= 1 a kill", most <= 1
    all_failed, refused = len(failed(events)), counts(events)[Fate.REFUSED.value]
    outcome.findings += [
        Finding(f"{prefix} wrong answers", "0", f"{wrong} of {total:,}", wrong == 0),
        Finding(
            f"{prefix} failed requests",
            reach,
            f"{all_failed} in {len(kills)} kills, at most {most} in one"
            + ("" if victims is workers else f"; {strays} outside")
            + (f"; {refused} connections refused" if refused else ""),
            is_bounded and not refused and all_failed == sum(count for count, _ in lost),
        ),
        Finding(
            f"{prefix} back to full rate",
            "< 1 s",
            f"median {recoveries[len(recoveries) // 2]:.2f} s, slowest {recoveries[-1]:.2f} s",
            recoveries[-1] < 1,
        ),
    ]
    under_way = ", ".join(f"{len(kill.taken)} of {len(kill.under_way)}" for kill in kills)
    fates = ", ".join(f"{fate}: {n:,}" for fate, n in counts(events).items())
    slow = (f"{recoveries[len(recoveries) // 2]:.2f}", f"{recoveries[-1]:.2f}")
    name = f"{target.name}: {what}"
    return [name, str(len(kills)), f"{total:,}", str(all_failed), fates, under_way, *slow]


async def _under_kills(
    server: Server, target: Target, victims: Callable[[int], list[int]], times: int
) -> tuple[FaultLoad, list[Kill], float]:
    source, kills = random.Random(7), []
    async with _load(server, target) as load:
        began_s = time.monotonic()
        await asyncio.sleep(STEADY_S)
        for number in range(times):
            await asyncio.sleep(
                max(0.0, began_s + STEADY_S + number * KILL_EVERY_S - time.monotonic())
            )
            alive = victims(server.pid)
            if alive:
                pid = source.choice(alive)
                held = held_by(pid, server.port)
                under_way = frozenset(load.under_way)
                os.kill(pid, signal.SIGKILL)
                kills.append(Kill(time.monotonic(), under_way, under_way & held))
        await asyncio.sleep(KILL_EVERY_S)
    return load, kills, began_s


def _load(server: Server, target: Target) -> FaultLoad:
    wires = [request.bytes() for request in target.requests]
    return FaultLoad(server.port, wires, target.is_right, CLIENTS)


def _reload(outcome: Outcome, target: Target, plan: Plan) -> None:
    """SIGHUP, five times, a second apart: the processes change and no request fails."""

    async def hang_up(server: Server) -> tuple[Sequence[Event], int]:
        changed = 0
        async with _load(server, target) as load:
            await asyncio.sleep(SETTLE_S)
            for _ in range(RELOADS):
                before = set(cpu.tree(server.pid)[1:])
                os.kill(server.pid, signal.SIGHUP)
                await asyncio.sleep(KILL_EVERY_S)
                if server.process.poll() is not None:
                    break
                changed += not before & set(cpu.tree(server.pid)[1:])
        return load.events, changed

    with _serving(target, plan) as server:
        events, changed = uvloop.run(hang_up(server))
        is_alive = server.process.poll() is None
    print(f"  {target.name}, SIGHUP: {counts(events)}, {changed} renewed", flush=True)
    lost = len(failed(events)) + counts(events)[Fate.REFUSED.value]
    said = f"{lost} of {len(events):,}; all processes renewed in {changed} of {RELOADS}"
    if not is_alive:
        said = "SIGHUP ended the server"
    outcome.findings.append(
        Finding(
            f"SIGHUP x{RELOADS} under load ({target.name}): failed requests",
            "0",
            said,
            is_alive and lost == 0 and changed == RELOADS,
        )
    )


def _terminate(outcome: Outcome, target: Target, plan: Plan) -> None:
    """SIGTERM: what has been sent on a standing connection is answered; then refusals."""

    async def terminate(server: Server) -> tuple[Sequence[Event], float, int]:
        async with _load(server, target) as load:
            await asyncio.sleep(STEADY_S)
            under_way, at_s = len(load.under_way), time.monotonic()
            os.kill(server.pid, signal.SIGTERM)
            while server.process.poll() is None and time.monotonic() < at_s + 15:
                await asyncio.sleep(0.01)
            left_s = time.monotonic() - at_s
        return load.events, left_s, under_way

    with _serving(target, plan) as server:
        members = cpu.tree(server.pid)
        events, left_s, under_way = uvloop.run(terminate(server))
        code = server.process.poll()
    orphans = [pid for pid in members[1:] if "scoring" in cpu.command_line(pid)]
    lost = len(failed(events))
    print(f"  {target.name}, SIGTERM: {counts(events)}, left after {left_s:.2f} s", flush=True)
    said = f"{lost} of {len(events):,} ({under_way} under way at the signal); "
    said += f"exit code {code} after {left_s:.2f} s"
    outcome.findings.append(
        Finding(
            f"SIGTERM under load ({target.name}): failed requests other than refused connections",
            "0",
            said + (f"; {len(orphans)} processes left" if orphans else ""),
            lost == 0 and code == 0 and not orphans,
        )
    )
