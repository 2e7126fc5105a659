"""The parts ``small`` (digits), ``mid`` (text angle), ``scripts`` (a score.py that does nothing)
and ``single`` (one connection): rates beside the baseline and the peers."""

from __future__ import annotations

import statistics

from benchmarks import ceiling, contestants
from benchmarks.contestants import AZURE, BASELINE, INFERRY, TYPED
from benchmarks.drive import drive
from benchmarks.outcome import Finding, Outcome, table
from benchmarks.rates import Plan, Rounds, Scenario, comparison, take_turns
from benchmarks.servers import running
from benchmarks.subjects import Subject, angle, digits
from benchmarks.wire import Request

JSON_32, JSON_1 = Scenario("json", 32), Scenario("json", 1)
RAW_32, V2_32 = Scenario("raw", 32), Scenario("v2", 32)


def small(plan: Plan) -> Outcome:
    """Digits against all."""
    scenarios = [JSON_32, JSON_1, RAW_32, V2_32]
    found, outcome = _compare("small", digits(plan.scratch), scenarios, plan)
    cpu_us = found.median(INFERRY, JSON_32, "cpu_us")
    what = "digits, JSON, 32 connections, 2 processes"
    outcome.findings = [
        at_least(what, "the baseline", 9, found.ratio(INFERRY, JSON_32, BASELINE)),
        at_least(
            what, "the baseline with its answer typed", 9, found.ratio(INFERRY, JSON_32, TYPED)
        ),
        at_most(f"{what}: CPU per request", 30, cpu_us, "us"),
        at_least(what, "the Azure server", 25, found.ratio(INFERRY, JSON_32, AZURE)),
        *(
            at_least(f"digits, {scenario.form} body", by, 11, found.ratio(INFERRY, scenario, *to))
            for scenario in (RAW_32, V2_32)
            for by, to in (
                ("the baseline's JSON", (BASELINE, JSON_32)),
                ("the baseline's raw", (BASELINE, RAW_32)),
            )
        ),
        at_least(
            "digits, 1 connection", "the baseline", 3.5, found.ratio(INFERRY, JSON_1, BASELINE)
        ),
    ]
    return outcome


def mid(plan: Plan) -> Outcome:
    """The text-angle classifier against all, and against onnxruntime in process."""
    subject = angle()
    scenarios = [RAW_32, V2_32, JSON_32]
    before = [ceiling.measure(subject, n, plan.seconds).rate for n in (1, 2)]
    found, outcome = _compare("mid", subject, scenarios, plan)
    after = [ceiling.measure(subject, n, plan.seconds).rate for n in (1, 2)]
    one, two = (statistics.mean(pair) for pair in zip(before, after, strict=True))
    outcome.notes.append(
        f"onnxruntime in process: {one:,.0f}/s on one process, {two:,.0f}/s on two (mean of a run "
        f"before the rounds, {before[1]:,.0f}, and one after, {after[1]:,.0f})."
    )
    # by v2: a raw body cannot say the three free sizes of this model's input
    rate = found.median(INFERRY, V2_32, "rate")
    what = "text angle, binary body (v2), 32 connections, of onnxruntime in process"
    share = None if rate is None else rate / two
    measured = "-" if share is None else f"{share:.0%}"
    reached = None if share is None else share >= 0.95
    outcome.findings.append(Finding(what, ">= 95 %", measured, reached))
    ratio = found.ratio(INFERRY, JSON_32, BASELINE)
    outcome.findings.append(at_least("text angle, JSON, 32 connections", "the baseline", 5, ratio))
    return outcome


def scripts(plan: Plan) -> Outcome:
    """CPU of a score.py's request in isolated workers, where run() does nothing."""
    request = Request("/score", b'{"data": [1]}', {"Content-Type": "application/json"})
    entrants = [contestants.our_script("score_noop.py")]
    if "scripts/azure-reference" not in contestants.missing():
        entrants.append(contestants.azure("score_noop.py", plan.scratch))
    used_us: dict[str, list[float]] = {}
    rates: dict[str, list[float]] = {}
    for _ in range(plan.rounds):
        for entrant in entrants:
            with running(entrant, request, lambda body: body == b"[0]", plan.scratch) as server:
                sample = drive(server, request, 32, plan.seconds, plan.scratch)
            print(f"  {entrant.name}: {sample}", flush=True)
            used_us.setdefault(entrant.name, []).append(sample.cpu_us)
            rates.setdefault(entrant.name, []).append(sample.rate)
    rows = [
        [name, f"{statistics.median(rates[name]):,.0f}", f"{statistics.median(used_us[name]):.0f}"]
        for name in used_us
    ]
    what = "score.py in isolated workers, no-op run, 32 connections: CPU per request"
    ours = statistics.median(used_us[entrants[0].name])
    return Outcome(
        "scripts", [at_most(what, 120, ours, "us")], [table(["", "requests/s", "CPU us"], rows)]
    )


def single(plan: Plan) -> Outcome:
    """What batching costs one connection, which never has anything to batch with."""
    what = "digits, 1 connection: p50 with batching on, less p50 with --max-batch 1"
    if contestants.lacks("--max-batch"):
        return Outcome("single", [Finding(what, "<= 0.05 ms", "no option --max-batch", None)])
    subject = digits(plan.scratch)
    entrants = [
        contestants.ours(subject.model, name="batching on"),
        contestants.ours(subject.model, "--max-batch", "1", name="--max-batch 1"),
    ]
    found = take_turns(entrants, [JSON_1], subject, plan)
    on, off = (found.median(entrant.name, JSON_1, "p50_ms") for entrant in entrants)
    cost_ms = None if on is None or off is None else on - off
    measured = "-" if cost_ms is None else f"{cost_ms:+.3f} ms ({on:.3f} against {off:.3f})"
    reached = None if cost_ms is None else cost_ms <= 0.05
    return Outcome("single", [Finding(what, "<= 0.05 ms", measured, reached)])


def _compare(
    part: str, subject: Subject, scenarios: list[Scenario], plan: Plan
) -> tuple[Rounds, Outcome]:
    lacking = contestants.missing()
    for command in lacking:
        print(f"  a peer is missing; to install it: {command}", flush=True)
    entrants = [contestants.ours(subject.model)]
    if "scripts/peers fastapi" not in lacking:
        entrants.append(contestants.baseline(subject))
        if part == "small":
            entrants.append(contestants.baseline(subject, is_typed=True))
    others = contestants.peers(subject, plan.scratch)
    entrants += [other for other in others if other.name == AZURE]
    once = [other for other in others if other.name != AZURE]
    found = take_turns(entrants, scenarios, subject, plan, once)
    names = [entrant.name for entrant in entrants + once]
    notes = [f"Not installed: {', '.join(f'`{c}`' for c in lacking)}."] if lacking else []
    if contestants.lacks("--processes"):
        notes.append("`inferry serve` has no --processes: it served with its default.")
    notes += [f"{what}: {why.splitlines()[0]}" for what, why in found.failures.items()]
    notes += [f"{what}: {count} requests failed" for what, count in found.errors().items()]
    tables = [comparison(found, names, scenarios, BASELINE)]
    return found, Outcome(part, tables=tables, notes=notes)


def at_least(what: str, than: str, times: float, ratio: float | None) -> Finding:
    """A ratio to reach."""
    measured = "-" if ratio is None else f"{ratio:.2f}x"
    reached = None if ratio is None else ratio >= times
    return Finding(what, f">= {times:g}x {than}", measured, reached)


def at_most(what: str, limit: float, found: float | None, unit: str) -> Finding:
    """A figure to stay below."""
    measured = "-" if found is None else f"{found:.3g} {unit}"
    return Finding(
        what, f"<= {limit:g} {unit}", measured, None if found is None else found <= limit
    )
