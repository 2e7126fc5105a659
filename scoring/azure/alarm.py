"""SCORING_TIMEOUT_MS: interrupts run() in the main thread with TimeoutError."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def time_limit(timeout_ms: int) -> Iterator[None]:
    """Raise TimeoutError inside the block once it has taken ``timeout_ms``; 0 means never."""
    previous = signal.signal(signal.SIGALRM, _raise)
    signal.setitimer(signal.ITIMER_REAL, timeout_ms / 1000)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)


def _raise(signum: int, frame: FrameType | None) -> None:
    raise TimeoutError
