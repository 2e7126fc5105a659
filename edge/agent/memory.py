"""What keeps the agent small, on glibc; elsewhere nothing happens."""

from __future__ import annotations

import contextlib
import ctypes
import gc

ARENA_MAX = -8
"""M_ARENA_MAX of mallopt(3)."""


def one_arena() -> None:
    """Of malloc, for all threads: they wait more than they work, and each arena keeps what it once
    had."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).mallopt(ARENA_MAX, 1)


def give_back() -> None:
    """What is free goes back to the system, after work that took much."""
    gc.collect()
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)
