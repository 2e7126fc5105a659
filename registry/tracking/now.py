"""The time in milliseconds, passed in so that tests can set it."""

from __future__ import annotations

import time
from collections.abc import Callable

NowMs = Callable[[], int]
"""Milliseconds since 1970."""


def now_ms() -> int:
    """The system's time."""
    return time.time_ns() // 1_000_000
