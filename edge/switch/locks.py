"""What keeps a switch waiting: windows, an application's lock, its not being ready."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from edge.messages.desired import Update
from edge.windows import is_open


@dataclass(frozen=True, slots=True)
class _Lock:
    reason: str
    until_s: float


class LockBoard:
    """Which modules' applications hold a lock, or said that they are ready. Forgotten with the
    agent: an application that lives renews its lock."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._guard = threading.Lock()
        self._locks: dict[str, _Lock] = {}
        self._ready: set[str] = set()

    def hold(self, module: str, reason: str, ttl_s: float) -> None:
        """No switch of this module within ``ttl_s``."""
        with self._guard:
            self._locks[module] = _Lock(reason, self._clock() + ttl_s)

    def release(self, module: str) -> None:
        """Now it may be. Nothing when there was no lock."""
        with self._guard:
            self._locks.pop(module, None)

    def set_ready(self, module: str) -> None:
        """Now is a good time; counts for the next switch."""
        with self._guard:
            self._ready.add(module)

    def used(self, module: str) -> None:
        """A switch was made: the next one needs another word."""
        with self._guard:
            self._ready.discard(module)

    def held(self, module: str) -> str | None:
        """Why the application holds a lock; None: it does not."""
        with self._guard:
            found = self._locks.get(module)
            return found.reason if found is not None and found.until_s > self._clock() else None

    def is_ready(self, module: str) -> bool:
        """Whether the application said so."""
        with self._guard:
            return module in self._ready


def waits_for(
    update: Update, now_s: float, waited_s: float, lock: str | None, is_ready: bool
) -> str | None:
    """Why a switch must wait now; None: it need not. Pure. ``now_s``: UTC since 1970, for windows;
    ``waited_s``: since it could have been made."""
    if not is_open(update.windows, now_s):
        return "window"
    is_overdue = update.lock_deadline_s is not None and waited_s >= update.lock_deadline_s
    if is_overdue:
        return None
    if lock is not None:
        return f"lock: {lock}"
    if update.when_ready and not is_ready:
        return "ready"
    return None
