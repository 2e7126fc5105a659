"""What a part found, as tables for people and as JSON for programs."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from benchmarks import cpu
from benchmarks.outcome import KEPT, Finding, commit, load, now, table

Figures = dict[str, object]


@dataclass(slots=True)
class Part:
    """``figures``: all numbers, in plain values; ``tables`` are Markdown."""

    name: str
    findings: list[Finding] = field(default_factory=list)
    tables: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    figures: Figures = field(default_factory=dict)
    took_s: float = 0.0
    load_before: float = 0.0


def text(parts: list[Part], command: str) -> str:
    """Markdown."""
    lines = [f"{now()}, commit {commit()}, {cpu.machine()}. `{command}`", ""]
    rows = [
        [one.what, one.reach, one.measured, _verdict(one.reached)]
        for part in parts
        for one in part.findings
    ]
    if rows:
        lines += [table(["what", "reach", "measured", ""], rows), ""]
    for part in parts:
        lines += [f"### {part.name} ({part.took_s:.0f} s, load average {part.load_before:.1f})", ""]
        for each in part.tables:
            lines += [each, ""]
        lines += [*part.notes, ""]
    return "\n".join(lines)


def keep(parts: list[Part], command: str) -> Path:
    """As build/bench/deployments.json; a part that was not measured now stays as it was."""
    path = KEPT / "deployments.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    known = json.loads(path.read_text()) if path.exists() else {}
    for part in parts:
        known[part.name] = {
            "measured_at": now(),
            "commit": commit(),
            "machine": cpu.machine(),
            "command": command,
            "python": sys.version.split()[0],
            "load_before": part.load_before,
            "load_after": load(),
            "took_s": part.took_s,
            "findings": msgspec.to_builtins(part.findings),
            "notes": part.notes,
            "figures": part.figures,
        }
    path.write_text(json.dumps(known, indent=1) + "\n")
    return path


def _verdict(is_reached: bool | None) -> str:
    return {True: "reached", False: "**not reached**", None: ""}[is_reached]
