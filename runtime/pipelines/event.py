"""What is told while a pipeline runs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

What = Literal[
    "started", "reused", "finished", "failed", "cancelled", "skipped", "again", "line", "cancelling"
]


@dataclass(frozen=True, slots=True)
class Event:
    """``step`` is "" where it is about the whole. ``run``: EXPERIMENT:NUMBER of the step's run, or
    of the one that was reused. ``text``: a line that it printed, why it failed or was skipped, or
    what it made. ``took_ms``: of a step that ended, where who tells it does not tell it at once."""

    what: What
    step: str = ""
    run: str = ""
    text: str = ""
    took_ms: int | None = None
