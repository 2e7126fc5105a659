"""What a part of the suite found: rows against the issue's reach, and tables; kept between runs.

Each part is kept as one JSON file, so that a part can be measured again alone and the page still
shows all of them, each with its own date, commit and load.
"""

from __future__ import annotations

import datetime
import os
import subprocess
from pathlib import Path

import msgspec

ROOT = Path(__file__).resolve().parents[1]
KEPT = ROOT / "build/bench"


class Finding(msgspec.Struct, frozen=True):
    """One row of "what | reach | measured | verdict". ``reached`` None: could not be measured."""

    what: str
    reach: str
    measured: str
    reached: bool | None


class Outcome(msgspec.Struct):
    """All that one part found. ``tables`` and ``notes`` are Markdown."""

    part: str
    findings: list[Finding] = []
    tables: list[str] = []
    notes: list[str] = []
    measured_at: str = ""
    commit: str = ""
    load_before: float = 0.0
    took_s: float = 0.0


def keep(outcome: Outcome) -> None:
    """Writes it to build/bench, over the last one of its part."""
    KEPT.mkdir(parents=True, exist_ok=True)
    (KEPT / f"{outcome.part}.json").write_bytes(
        msgspec.json.format(msgspec.json.encode(outcome), indent=1)
    )


def kept(part: str) -> Outcome | None:
    """The last outcome of a part on this machine, if there is one."""
    path = KEPT / f"{part}.json"
    return msgspec.json.decode(path.read_bytes(), type=Outcome) if path.exists() else None


def now() -> str:
    """UTC, to the minute."""
    return datetime.datetime.now(tz=datetime.UTC).strftime("%Y-%m-%d %H:%M UTC")


def commit() -> str:
    """The short commit, with ``+`` where the working tree differs from it."""

    def git(*arguments: str) -> str:
        done = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True)
        return done.stdout.strip()

    changed = git("status", "--porcelain", "--untracked-files=no")
    return git("rev-parse", "--short", "HEAD") + ("+" if changed else "")


def load() -> float:
    """The load average of the last minute."""
    return os.getloadavg()[0]


def table(header: list[str], rows: list[list[str]]) -> str:
    """A Markdown table."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
