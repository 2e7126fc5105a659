"""What came of a hook."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

MOST_SAID = 300


class Result(Enum):
    """NOT_NOW: the change shall be put off; DROPPED: it was not run, as too many waited."""

    OK = "ok"
    NOT_NOW = "not_now"
    FAILED = "failed"
    TIMEOUT = "timeout"
    DROPPED = "dropped"


@dataclass(frozen=True, slots=True)
class Answer:
    """``said``: in one line, for people; ``again_s``: when it may be asked again, where it said;
    ``tries``: how often it was tried."""

    result: Result
    said: str = ""
    took_s: float = 0.0
    again_s: float | None = None
    tries: int = 1


def line(text: str | bytes, most: int = MOST_SAID) -> str:
    """What a stranger said, in one line that a terminal can show."""
    if isinstance(text, bytes):
        text = text.decode("utf-8", "replace")
    words = " ".join(text[: 8 * most].split())
    return "".join(char if char.isprintable() else "?" for char in words)[:most]


def worst(answers: list[Answer]) -> Answer:
    """Of several hooks of one moment: one that says "not now" counts, else one that failed."""
    order = [Result.NOT_NOW, Result.TIMEOUT, Result.FAILED, Result.DROPPED, Result.OK]
    return min(answers, key=lambda each: order.index(each.result))
