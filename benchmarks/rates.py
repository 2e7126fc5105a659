"""Interleaved rounds: each contestant in turn, each scenario, again and again; then medians of the
ratios within a round, so that a drifting machine moves both sides of a ratio alike."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks import cpu
from benchmarks.contestants import Contestant
from benchmarks.drive import Sample, drive
from benchmarks.outcome import table
from benchmarks.servers import NotServedError, Server, check, running
from benchmarks.subjects import Subject
from benchmarks.wire import Request


@dataclass(frozen=True, slots=True)
class Scenario:
    """A body's form ("json", "raw", "v2") and the number of connections that send it."""

    form: str
    connections: int

    def __str__(self) -> str:
        return f"{self.form}, {self.connections}"


@dataclass(slots=True)
class Rounds:
    """What was measured: samples by contestant and scenario, one a round where it worked."""

    samples: dict[tuple[str, Scenario], dict[int, Sample]] = field(default_factory=dict)
    ready_s: dict[str, list[float]] = field(default_factory=dict)
    pss_mb: dict[str, list[float]] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)
    """By contestant, or contestant and scenario: why there is no sample."""

    def median(self, name: str, scenario: Scenario, what: str) -> float | None:
        """The median of one figure of the samples."""
        found = self.samples.get((name, scenario), {}).values()
        return statistics.median(getattr(sample, what) for sample in found) if found else None

    def ratio(
        self, name: str, scenario: Scenario, to: str, to_scenario: Scenario | None = None
    ) -> float | None:
        """The median over the rounds of one rate by another of the same round."""
        ours = self.samples.get((name, scenario), {})
        theirs = self.samples.get((to, to_scenario or scenario), {})
        found = [ours[i].rate / theirs[i].rate for i in ours if i in theirs and theirs[i].rate]
        return statistics.median(found) if found else None

    def errors(self) -> dict[str, int]:
        """Requests that were not answered with 200, by contestant and scenario."""
        counts = {
            f"{name} ({scenario})": sum(sample.errors for sample in found.values())
            for (name, scenario), found in self.samples.items()
        }
        return {what: count for what, count in counts.items() if count}


@dataclass(frozen=True, slots=True)
class Plan:
    """How much to measure, and where files may be written."""

    rounds: int
    seconds: float
    scratch: Path


def take_turns(
    contestants: Sequence[Contestant],
    scenarios: Sequence[Scenario],
    subject: Subject,
    plan: Plan,
    once: Sequence[Contestant] = (),
) -> Rounds:
    """All rounds; those in ``once``, which no reach is set against, take part in the first alone.
    A contestant that fails is noted and left out of that round."""
    found = Rounds()
    for number in range(plan.rounds):
        for contestant in [*contestants, *(once if number == 0 else ())]:
            try:
                _one_turn(found, number, contestant, scenarios, subject, plan)
            except NotServedError as error:
                found.failures[contestant.name] = str(error)
                print(f"  {contestant.name}: {error}", flush=True)
    return found


def _one_turn(
    found: Rounds,
    number: int,
    contestant: Contestant,
    scenarios: Sequence[Scenario],
    subject: Subject,
    plan: Plan,
) -> None:
    first = contestant.forms["json"](subject, 0)
    with running(contestant, first, lambda body: subject.is_right(0, body), plan.scratch) as server:
        found.ready_s.setdefault(contestant.name, []).append(server.ready_s)
        for scenario in scenarios:
            sample = _sample(found, server, contestant, scenario, subject, plan)
            if sample is not None:
                found.samples.setdefault((contestant.name, scenario), {})[number] = sample
                said = f"{sample.rate:,.0f}/s p50 {sample.p50_ms:.2f} ms cpu {sample.cpu_us:.0f} us"
                print(f"  round {number + 1}, {contestant.name}, {scenario}: {said}", flush=True)
        found.pss_mb.setdefault(contestant.name, []).append(cpu.pss_bytes(server.pid) / 1e6)


def _sample(
    found: Rounds,
    server: Server,
    contestant: Contestant,
    scenario: Scenario,
    subject: Subject,
    plan: Plan,
) -> Sample | None:
    form = contestant.forms.get(scenario.form)
    if form is None:
        return None
    request: Request = form(subject, 1)
    try:
        check(server.port, request, lambda body: subject.is_right(1, body))
    except (NotServedError, OSError) as error:
        found.failures[f"{contestant.name} ({scenario})"] = str(error)
        print(f"  {contestant.name}, {scenario}: {error}", flush=True)
        return None
    return drive(server, request, scenario.connections, plan.seconds, plan.scratch)


def comparison(found: Rounds, names: Sequence[str], scenarios: Sequence[Scenario], to: str) -> str:
    """The peers' table: for each scenario ratio, rate, p50 / p99 and CPU; ready and memory."""
    header = ["", *(f"{scenario} conn." for scenario in scenarios), "ready s", "PSS MB"]
    rows = []
    for name in names:
        if name in found.ready_s:
            cells = [_cell(found, name, scenario, to) for scenario in scenarios]
            ready_s = statistics.median(found.ready_s[name])
            pss_mb = found.pss_mb.get(name, [])
            memory = f"{statistics.median(pss_mb):.0f}" if pss_mb else "-"
            rows.append([name, *cells, f"{ready_s:.2f}", memory])
    return table(header, rows)


def _cell(found: Rounds, name: str, scenario: Scenario, to: str) -> str:
    rate = found.median(name, scenario, "rate")
    if rate is None:
        return "-"
    p50, p99 = (found.median(name, scenario, what) or 0.0 for what in ("p50_ms", "p99_ms"))
    used_us = found.median(name, scenario, "cpu_us") or 0.0
    # the baseline has no v2: there its raw body is the like
    like = Scenario("raw", scenario.connections) if scenario.form == "v2" else scenario
    ratio = found.ratio(name, scenario, to, like)
    times = f"**{ratio:.2f}x** " if ratio is not None else ""
    return f"{times}{rate:,.0f}/s, p50 {p50:.2f} p99 {p99:.1f} ms, {used_us:,.0f} us"
