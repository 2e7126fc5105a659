"""The part ``edge`` of the suite: each study in a process of its own, as its file says, one after
another. One that fails, or is not there, leaves a note and stops none of the others."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from typing import Any

from benchmarks.outcome import ROOT, Finding, Outcome
from benchmarks.rates import Plan


@dataclass(frozen=True, slots=True)
class Study:
    """``name``: the module's in benchmarks/edge."""

    name: str
    words: tuple[str, ...] = ()
    limit_s: float = 900.0


STUDIES = (
    Study("outbox"),
    Study("ingest"),
    Study("ingest", ("--broker",)),
    Study("rollout"),
    Study("rollback"),
    Study("pull"),
    Study("disk"),
    Study("idle"),
    Study("herd"),
    Study("footprint", ("--minutes", "3", "--warm-up", "60")),
    Study("matrix"),
    Study("chaos", limit_s=1800.0),
    Study("powercut"),
)


def edge(plan: Plan) -> Outcome:
    """All of them; ``plan``'s rounds and seconds are those of servers and do not apply."""
    outcome = Outcome("edge")
    for study in STUDIES:
        print(f"  {study.name}", flush=True)
        try:
            found = run(study)
        except (OSError, ValueError, subprocess.SubprocessError) as error:
            said = " ".join(str(error).split())[-300:]
            outcome.findings.append(Finding(study.name, "-", "-", None))
            outcome.notes.append(f"{study.name}: {said}")
            continue
        for finding in found:
            print(f"    {finding.what}: {finding.measured} ({finding.reach})", flush=True)
        outcome.findings += found
    return outcome


def run(study: Study) -> list[Finding]:
    """Raises OSError, SubprocessError, ValueError."""
    done = subprocess.run(
        [sys.executable, "-m", f"benchmarks.edge.{study.name}", *study.words],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=study.limit_s,
        check=False,
    )
    if done.returncode != 0:
        raise ValueError(f"it ended with {done.returncode}: {done.stderr[-300:]}")
    return [_finding(row) for row in _rows(json.loads(done.stdout))]


def _rows(printed: Any) -> list[dict[str, Any]]:
    rows = printed.get("findings", []) if isinstance(printed, dict) else printed
    return list(rows)


def _finding(row: dict[str, Any]) -> Finding:
    return Finding(str(row["what"]), str(row["reach"]), str(row["measured"]), row.get("reached"))
