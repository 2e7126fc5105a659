"""How an activity is shown."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from registry.activities import Activity
from runtime.cli.progress import LINE_EVERY_S, PhaseLines, activity_progress, amount, phase_line

RUNNING = Activity("1", "image", "digits", "running", "", 0, 0, None, "2026-11-26T12:00:00Z", None)


def test_a_line_as_each_phase_begins_and_few_after_it() -> None:
    now = 0.0
    said: list[str] = []
    lines = PhaseLines(echo=said.append, clock=lambda: now)
    lines(RUNNING)
    lines(replace(RUNNING, phase="Resolving"))
    lines(replace(RUNNING, phase="Packing", total=2048))
    for done in range(0, 2048, 8):
        now += LINE_EVERY_S / 128
        lines(replace(RUNNING, phase="Packing", done=done, total=2048))
    lines(replace(RUNNING, phase="Proving\x1b[2J"))
    lines(replace(RUNNING, phase="Proving\x1b[2J", state="succeeded"))
    assert said == [
        "Resolving",
        "Packing: 0 % of 2.0 KiB",
        "Packing: 49 % of 2.0 KiB",
        "Packing: 99 % of 2.0 KiB",
        r"Proving\x1b[2J",
    ]


@pytest.mark.parametrize(
    ("done", "total", "shown"),
    [(0, 0, "0 B"), (1536, 0, "1.5 KiB"), (5, 10, "50 % of 10 B"), (11, 10, "100 % of 10 B")],
)
def test_amount(done: int, total: int, shown: str) -> None:
    assert amount(done, total) == shown


def test_a_phase_without_bytes_is_just_its_name() -> None:
    assert phase_line(replace(RUNNING, phase="Proving")) == "Proving"


def test_nothing_is_shown_to_programs(capsys: pytest.CaptureFixture[str]) -> None:
    assert activity_progress("json") is None
    shown = activity_progress("table")
    assert shown is not None
    shown(replace(RUNNING, phase="Packing", total=2048))
    assert capsys.readouterr() == ("", "Packing: 0 % of 2.0 KiB\n")


CHILD = """
from dataclasses import replace
from runtime.cli import progress
from tests.runtime.test_progress import RUNNING
progress.SHOW_AFTER_S = SECONDS
bar = progress.activity_progress("table")
bar(replace(RUNNING, phase="Resolving"))
if not SECONDS:
    bar._timer.join()
bar(replace(RUNNING, phase="Packing[red]", total=2048))
bar(replace(RUNNING, phase="Packing[red]", done=1024, total=2048))
bar.say("a line of the log")
bar._bar and bar._bar.refresh()
bar(replace(RUNNING, phase="Packing[red]", done=2048, total=2048, state="succeeded"))
print("over")
"""


def _on_a_terminal(seconds: float) -> str:
    """What a terminal gets from CHILD."""
    ours, theirs = pty.openpty()
    child = subprocess.Popen(
        [sys.executable, "-c", CHILD.replace("SECONDS", str(seconds))],
        stdin=subprocess.DEVNULL,
        stdout=theirs,
        stderr=theirs,
        cwd=Path(__file__).parents[2],
        env={**os.environ, "TERM": "xterm", "COLUMNS": "100"},
    )
    os.close(theirs)
    said = b""
    try:
        while chunk := os.read(ours, 65536):
            said += chunk
    except OSError:  # how Linux says that the other end is closed
        pass
    finally:
        os.close(ours)
    assert child.wait(60) == 0, said
    return said.decode()


def test_on_a_terminal_a_bar_appears_and_goes() -> None:
    said = _on_a_terminal(0)
    assert "Resolving" in said
    assert "Packing[red]" in said
    assert "1.0/2.0 KiB" in said
    assert "a line of the log" in said
    assert said.rstrip().endswith("over")
    assert "\x1b[?25h" in said, "the cursor is shown again"


def test_on_a_terminal_short_work_shows_nothing() -> None:
    assert _on_a_terminal(60) == "a line of the log\r\nover\r\n"
