"""``GET /`` while every worker is busy: asleep, computing, or scoring all that the cores can do."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass

import uvloop

from benchmarks import contestants
from benchmarks.contestants import Contestant
from benchmarks.drive import busy
from benchmarks.outcome import Finding, Outcome, table
from benchmarks.overload import quantile
from benchmarks.rates import Plan
from benchmarks.servers import NotServedError, check, running
from benchmarks.subjects import angle
from benchmarks.wire import Client, Request

PROBE = Request("/").bytes()
PROBE_EVERY_S = 0.005
SETTLE_S = 0.3
REACH_MS = 5.0


@dataclass(frozen=True, slots=True)
class Case:
    """A server; the request that tells that it is ready, the one that keeps it busy, one like it
    that is answered soon, and how many are always under way."""

    name: str
    contestant: Contestant
    first: Request
    busy: Request
    sample: Request
    at_once: int


def health(plan: Plan) -> Outcome:
    """Ours in three ways; the reference asleep, to compare with."""
    outcome, rows = Outcome("health"), []
    for case in _cases(plan):
        with running(case.contestant, case.first, lambda _: True, plan.scratch) as server:
            try:
                check(server.port, case.sample, lambda _: True)
            except NotServedError as error:
                outcome.notes.append(f"{case.name}: {error}")
                continue
            with busy(server, case.busy, case.at_once, plan.scratch):
                time.sleep(SETTLE_S)  # until all workers have theirs: no event tells
                times_ms = uvloop.run(_probe(server.port, plan.seconds * 1.5))
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
    scored, binary = (model.forms[form](subject, 0) for form in ("json", "v2"))
    cases = [
        Case("score.py asleep, 2 workers, 4 requests", script, quick, asleep, quick, 4),
        Case(
            "score.py computing, 2 workers on 2 cores, 4 requests", script, quick, burning, quick, 4
        ),
        Case("text angle, JSON, 16 connections", model, scored, scored, scored, 16),
        Case("text angle, binary body (v2), 16 connections", model, scored, binary, binary, 16),
    ]
    if "scripts/azure-reference" not in contestants.missing():
        reference = contestants.azure("score_busy.py", plan.scratch)
        name = "Azure ML server, score.py asleep, 2 workers, 4 requests"
        cases.append(Case(name, reference, quick, asleep, quick, 4))
    return cases


async def _probe(port: int, seconds: float) -> list[float]:
    """Milliseconds of each ``GET /``, one after another on one connection."""
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
    return times_ms
