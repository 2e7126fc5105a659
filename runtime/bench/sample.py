"""What the sending process counted in about a second, one line of JSON each."""

from __future__ import annotations

import msgspec

SHED = 429


class Sample(msgspec.Struct, frozen=True, omit_defaults=True):
    """``began_s``: since the first step began. ``answered``: times of good answers, in buckets of
    histogram.py; ``shed``: answers 429 that say when to come back, ``retry_after_s`` the longest of
    those; ``failed``: by kind."""

    step: int
    began_s: float
    seconds: float
    answered: dict[int, int] = {}
    shed: int = 0
    retry_after_s: float = 0.0
    failed: dict[str, int] = {}
    due: int = 0
    """Requests that had to be sent by now, where there is a rate."""
    cpu_s: float = 0.0
    """That the sending process used."""
    starved_s: float = 0.0
    """That it could have used and did not get, as others had the cores."""

    @property
    def requests(self) -> int:
        """All that ended."""
        return sum(self.answered.values()) + self.shed + sum(self.failed.values())


def encoded(sample: Sample) -> bytes:
    """Its line."""
    return msgspec.json.encode(sample) + b"\n"


def decoded(line: bytes) -> Sample | None:
    """None where the line is not whole."""
    try:
        return msgspec.json.decode(line, type=Sample) if line.endswith(b"\n") else None
    except msgspec.MsgspecError:
        return None


def kind_of(status: int, has_retry_after: bool) -> str | None:
    """Why an answer of this status is none that helps its client; None: it is good. A 429 that says
    when to come back is shed load."""
    if 200 <= status < 300:
        return None
    if status == SHED:
        return "shed" if has_retry_after else "HTTP 429 without Retry-After"
    return f"HTTP {status}"
