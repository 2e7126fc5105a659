"""SCORING_TIMEOUT_MS: interrupts run() in the main thread with TimeoutError.

    alarm.install()                # once
    alarm.start(timeout_ms)
    try: run()
    finally: alarm.stop()

The handler stays in place between requests, which saves two system calls per request, unless the
script has one of its own: that is put back after each request. A script that sets a handler or a
timer in run() loses it at the end of that call.
"""

from __future__ import annotations

import importlib
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

_is_on = False
_before: Any = None
_handler: Callable[[int], Any] = importlib.import_module("_signal").getsignal
"""signal.getsignal without its attempt to make an enum of what it finds, which takes 3 us."""


def install() -> None:
    """Keep the handler in place from now on, unless there is another."""
    if _handler(signal.SIGALRM) == signal.SIG_DFL:
        signal.signal(signal.SIGALRM, _raise)


def start(timeout_ms: float) -> None:
    """Raise TimeoutError in the main thread in ``timeout_ms``; 0 means never."""
    global _is_on, _before
    _before = _handler(signal.SIGALRM)
    if _before is not _raise:
        signal.signal(signal.SIGALRM, _raise)
    _is_on = True
    signal.setitimer(signal.ITIMER_REAL, timeout_ms / 1000)


def stop() -> None:
    """Call it off."""
    global _is_on
    _is_on = False
    signal.setitimer(signal.ITIMER_REAL, 0)
    if _before is not _raise or _handler(signal.SIGALRM) is not _raise:
        signal.signal(signal.SIGALRM, _before)


@contextmanager
def time_limit(timeout_ms: float) -> Iterator[None]:
    """Raise TimeoutError inside the block once it has taken ``timeout_ms``; 0 means never."""
    start(timeout_ms)
    try:
        yield
    finally:
        stop()


def _raise(signum: int, frame: FrameType | None) -> None:
    if _is_on:
        raise TimeoutError
