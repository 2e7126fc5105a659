"""From exec to the first scored answer, and the memory of all processes; ours and the baseline."""

from __future__ import annotations

import statistics
import subprocess
import time

from benchmarks import contestants, cpu
from benchmarks.contestants import BIN, Contestant
from benchmarks.drive import drive
from benchmarks.models import at_most
from benchmarks.outcome import Outcome, table
from benchmarks.rates import Plan
from benchmarks.servers import running
from benchmarks.subjects import Subject, digits

STARTS = 5
HELP_RUNS = 5


def startup(plan: Plan) -> Outcome:
    """Several starts each, in turns; memory as they stand ready and after a second of load."""
    subject = digits(plan.scratch)
    entrants = [contestants.ours(subject.model)]
    if "scripts/peers fastapi" not in contestants.missing():
        entrants.append(contestants.baseline(subject))
    found: dict[str, list[tuple[float, float, float, int]]] = {}
    for _ in range(STARTS):
        for entrant in entrants:
            figures = _start(entrant, subject, plan)
            print(f"  {entrant.name}: {figures}", flush=True)
            found.setdefault(entrant.name, []).append(figures)
    rows = []
    for name, starts in found.items():
        ready_s, idle_mb, loaded_mb, processes = map(statistics.median, zip(*starts, strict=True))
        rows.append(
            [name, f"{ready_s:.2f}", f"{idle_mb:.0f}", f"{loaded_mb:.0f}", f"{processes:g}"]
        )
    ours = found[entrants[0].name]
    findings = [
        at_most(
            "digits: exec to first scored answer", 0.5, statistics.median(f[0] for f in ours), "s"
        ),
        at_most(
            "digits: PSS of all processes after load (2 serve)",
            90,
            statistics.median(f[2] for f in ours),
            "MB",
        ),
    ]
    header = ["", "ready s", "PSS MB when ready", "PSS MB after load", "processes"]
    notes = [f"`inferry --help`: {_help_ms():.0f} ms (median of {HELP_RUNS})."]
    return Outcome("startup", findings, [table(header, rows)], notes)


def _start(entrant: Contestant, subject: Subject, plan: Plan) -> tuple[float, float, float, int]:
    request = entrant.forms["json"](subject, 0)
    with running(entrant, request, lambda a: subject.is_right(0, a), plan.scratch) as server:
        idle_mb = cpu.pss_bytes(server.pid) / 1e6
        drive(server, request, 32, 1, plan.scratch)
        loaded_mb = cpu.pss_bytes(server.pid) / 1e6
        return server.ready_s, idle_mb, loaded_mb, len(cpu.tree(server.pid))


def _help_ms() -> float:
    times_ms = []
    for _ in range(HELP_RUNS):
        began_s = time.perf_counter()
        subprocess.run([BIN / "inferry", "--help"], check=True, stdout=subprocess.DEVNULL)
        times_ms.append((time.perf_counter() - began_s) * 1000)
    return statistics.median(times_ms)
