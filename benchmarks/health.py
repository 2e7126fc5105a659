"""``GET /`` while every worker is busy: asleep, computing, or scoring all that the cores can do."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass

import uvloop

from benchmarks import contestants
from benchmarks.contestants import Contestant
from benchmarks.outcome import Finding, Outcome, table
from benchmarks.overload import quantile
from benchmarks.rates import Plan
from benchmarks.servers import running
from benchmarks.subjects import angle
from benchmarks.wire import Client, Request

PROBE = Request("/").bytes()
PROBE_EVERY_S = 0.005
REACH_MS = 5.0


@dataclass(frozen=True, slots=True)
class Case:
    """A server, the request that keeps it busy, and how many of these are always under way."""

    name: str
    contestant: Contestant
    first: Request
    busy: Request
    at_once: int


def health(plan: Plan) -> Outcome:
    """Ours in three ways; the reference asleep, to compare with."""
    outcome, rows = Outcome("health"), []
    for case in _cases(plan):
        with running(case.contestant, case.first, lambda _: True, plan.scratch) as server:
            seconds = plan.seconds * 1.5
            times_ms = uvloop.run(_probe(server.port, case.busy.bytes(), case.at_once, seconds))
        p50_ms, p99_ms = quantile(times_ms, 0.5), quantile(times_ms, 0.99)
        most_ms = max(times_ms)
        print(f"  {case.name}: p50 {p50_ms:.2f} p99 {p99_ms:.2f} max {most_ms:.2f} ms", flush=True)
        rows.append(
            [case.name, f"{len(times_ms)}", f"{p50_ms:.2f}", f"{p99_ms:.2f}", f"{most_ms:.2f}"]
        )
        if case.contestant.name != contestants.AZURE:
            what = f"`GET /` p99 with every worker busy: {case.name}"
            outcome.findings.append(
                Finding(what, f"< {REACH_MS:g} ms", f"{p99_ms:.2f} ms", p99_ms < REACH_MS)
            )
    outcome.tables.append(table(["", "probes", "p50 ms", "p99 ms", "slowest ms"], rows))
    return outcome


def _cases(plan: Plan) -> list[Case]:
    asleep_ms = round(plan.seconds * 1000)

    def asked(body: str) -> Request:
        return Request("/score", body.encode(), {"Content-Type": "application/json"})

    quick, asleep = asked("{}"), asked(f'{{"sleep_ms": {asleep_ms}}}')
    burning = asked('{"burn_ms": 200}')
    script = contestants.our_script("score_busy.py", workers=2)
    subject = angle()
    model = contestants.ours(subject.model)
    scored = model.forms["json"](subject, 0)
    cases = [
        Case("score.py asleep, 2 workers, 4 requests", script, quick, asleep, 4),
        Case("score.py computing, 2 workers on 2 cores, 4 requests", script, quick, burning, 4),
        Case("text angle, JSON, 16 connections", model, scored, scored, 16),
    ]
    if "scripts/azure-reference" not in contestants.missing():
        reference = contestants.azure("score_busy.py", plan.scratch)
        name = "Azure ML server, score.py asleep, 2 workers, 4 requests"
        cases.append(Case(name, reference, quick, asleep, 4))
    return cases


async def _probe(port: int, busy: bytes, at_once: int, seconds: float) -> list[float]:
    """Milliseconds of each ``GET /``, one after another, while ``busy`` is always under way."""
    stopped = False

    async def keep_busy() -> None:
        client = await Client.open(port)
        while not stopped:
            if not client.is_open:
                client = await Client.open(port)
            await client.ask(busy)
        client.close()

    tasks = [asyncio.create_task(keep_busy()) for _ in range(at_once)]
    await asyncio.sleep(0.3)  # until all workers have theirs: there is no event to wait for
    times_ms: list[float] = []
    end_s = time.monotonic() + seconds
    client = await Client.open(port)
    while (asked_s := time.monotonic()) < end_s or not times_ms:
        if not client.is_open:
            client = await Client.open(port)
        await client.ask(PROBE)
        times_ms.append((time.monotonic() - asked_s) * 1000)
        await asyncio.sleep(PROBE_EVERY_S)
    client.close()
    stopped = True
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    return times_ms
