"""benchmarks/RESULTS.md from what the parts have kept."""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks import cpu
from benchmarks.outcome import ROOT, Finding, Outcome, table

RESULTS = ROOT / "benchmarks/RESULTS.md"
VERDICTS = {True: "reached", False: "**not reached**", None: "not measured"}
HOW = """Every ratio is taken within one round, in which the contestants run one after another on
the same cores, and is the median over the rounds. wrk (one thread) and the other clients share the
cores with the servers, so absolute rates are lower bounds; CPU per request is that of the server's
process tree alone. Two processes (or workers) each, one onnxruntime thread a process, no access
log. The baseline is FastAPI with uvicorn[standard], onnxruntime called inline
([fastapi_server.py](peers/fastapi_server.py)). *Digits*: float32 [N, 64]. *Text angle*: float32
[N, 3, 48, 192], about 1 ms a row. A cell of a peers' table: ratio to the baseline in that column,
rate, latency, CPU per request; LitServe, BentoML and MLServer take part in one round. Before a
scenario is timed, one answer is compared with that of onnxruntime in process."""
TITLES = {
    "small": "Digits",
    "mid": "Text angle",
    "scripts": "A score.py that does nothing, 32 connections",
    "single": "One connection",
    "startup": "Start and memory",
    "overload": "Overload",
    "health": "Health while busy",
    "faults": "Faults",
    "locust": "Locust",
    "images": "Images",
    "edge": "Edge",
}


def write(outcomes: Sequence[Outcome], command: str) -> str:
    """Writes the page and returns it."""
    page = render(outcomes, command, cpu.machine())
    RESULTS.write_text(page)
    return page


def render(outcomes: Sequence[Outcome], command: str, machine: str) -> str:
    """The page: the issue's table first, then each part."""
    rows = [_row(finding) for outcome in outcomes for finding in outcome.findings]
    head = ["# Results", "", f"`{command}` on {machine}.", "", HOW, ""]
    head += [table(["what", "reach", "measured", "verdict"], rows), ""]
    return "\n".join(head + [line for outcome in outcomes for line in _section(outcome)])


def _row(finding: Finding) -> list[str]:
    return [finding.what, finding.reach, finding.measured, VERDICTS[finding.reached]]


def _section(outcome: Outcome) -> list[str]:
    when = f"{outcome.measured_at}, commit {outcome.commit}, {outcome.took_s:.0f} s"
    lines = [f"## {TITLES.get(outcome.part, outcome.part)}", ""]
    lines += [f"{when}; load average before it {outcome.load_before:.2f}.", ""]
    for block in outcome.tables:
        lines += [block, ""]
    for note in outcome.notes:
        lines += [f"- {note}"]
    return [*lines, ""] if outcome.notes else lines
