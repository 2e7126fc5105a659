"""The time, passed in so that tests can set it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

Clock = Callable[[], str]
"""The time now, UTC, as ISO 8601 with seconds."""


def utc_now() -> str:
    """The system's time."""
    return datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
