"""What is known of an activity, and how its id is made."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

State = Literal["running", "succeeded", "failed", "cancelled"]
DEAD = "its process ended"
MAX_CAUSE_CHARS = 1000
MAX_SUBJECT_CHARS = 256


@dataclass(frozen=True, slots=True)
class Activity:
    """An operation under way or ended. ``done`` of ``total`` bytes of the ``phase``; a total of 0
    means that nobody knows it. ``cause`` says why it failed or was cancelled. ``begun_by``: who can
    resume it, None: nobody. ``resumes``: the id of the activity that this one began again;
    ``resumed_by``: of the last one that began this one again."""

    id: str
    kind: str
    subject: str
    state: State
    phase: str
    done: int
    total: int
    cause: str | None
    started_at: str
    ended_at: str | None
    begun_by: Literal["command", "service"] | None = None
    resumes: str | None = None
    resumed_by: str | None = None

    @property
    def is_running(self) -> bool:
        """Whether it has not ended yet."""
        return self.state == "running"

    @property
    def is_resumable(self) -> bool:
        """Whether it can be begun again: it did not succeed, and it is known how it began."""
        return self.state in ("failed", "cancelled") and self.begun_by is not None


@dataclass(frozen=True, slots=True)
class End:
    """How an activity ended."""

    state: State
    cause: str | None
    ended_at: str


def new_id(started_at: str, random_hex: Callable[[int], str]) -> str:
    """``20261126T152233-3f9a1c``: ids sort by time, and nobody guesses one."""
    return f"{re.sub('[^0-9T]', '', started_at)[:15]}-{random_hex(3)}"


def one_line(text: str, limit: int = MAX_CAUSE_CHARS) -> str:
    """``text`` on one line of at most ``limit`` characters, without control characters."""
    line = printable(" ".join(text.split()))
    return line if len(line) <= limit else f"{line[: limit - 3]}..."


def printable(text: str) -> str:
    """``text`` with what a terminal would act on as escapes."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
