"""The time of a run: it begins with the system's and then goes on by itself, so that a clock that
is set while a model trains moves no metric and makes no run end before it began."""

from __future__ import annotations

import time
from collections.abc import Callable


def elapsed_ns() -> int:
    """Nanoseconds since some time, also those in which the machine slept, where that is known."""
    boot = getattr(time, "CLOCK_BOOTTIME", None)
    return time.monotonic_ns() if boot is None else time.clock_gettime_ns(boot)


class RunClock:
    """Milliseconds since 1970, never less than before."""

    def __init__(
        self,
        wall_ns: Callable[[], int] = time.time_ns,
        elapsed: Callable[[], int] = elapsed_ns,
    ) -> None:
        self._elapsed = elapsed
        self._offset_ns = wall_ns() - elapsed()

    def __call__(self) -> int:
        return (self._offset_ns + self._elapsed()) // 1_000_000
