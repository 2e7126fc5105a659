"""How long to wait before trying again, after a connection was lost: longer each time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

from runtime.datastores.errors import LostConnectionError, StoppedError, UnreachableError

T = TypeVar("T")
WAITS_S = (0.5, 1.0, 2.0, 4.0, 8.0)
Pause = Callable[[float], bool]
"""Waits so many seconds; True when the transfer was stopped meanwhile."""


class Patience:
    """For one file. ``pause`` is what waits."""

    def __init__(self, pause: Pause, waits_s: Sequence[float] = WAITS_S) -> None:
        self._pause = pause
        self._waits_s = waits_s
        self._left: Iterator[float] = iter(waits_s)

    def went_well(self) -> None:
        """Something arrived: the next loss is the first one again."""
        self._left = iter(self._waits_s)

    def lost(self, error: LostConnectionError) -> None:
        """Waits. Raises UnreachableError after the last try, StoppedError."""
        wait_s = next(self._left, None)
        if wait_s is None:
            raise UnreachableError(f"{error} (tried {len(self._waits_s) + 1} times)") from error
        if self._pause(wait_s):
            raise StoppedError("the transfer was stopped")


def tried(act: Callable[[], T], patience: Patience) -> T:
    """What ``act`` returns, the first time that no connection is lost."""
    while True:
        try:
            return act()
        except LostConnectionError as error:
            patience.lost(error)
