"""Things to do later, for a loop that has one thread and no event loop."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable


class Timers:
    """Callbacks by time. None is ever cancelled: each looks whether it still applies."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._heap: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()

    def after(self, delay_s: float, callback: Callable[[], None]) -> None:
        """Call it once, in ``delay_s`` or as soon as the loop comes to it."""
        heapq.heappush(self._heap, (self._clock() + delay_s, next(self._order), callback))

    def wait_s(self) -> float | None:
        """Seconds until the next one, at least 0; None when there is none."""
        return max(0.0, self._heap[0][0] - self._clock()) if self._heap else None

    def run_due(self) -> None:
        """Call those whose time has come."""
        now = self._clock()
        while self._heap and self._heap[0][0] <= now:
            heapq.heappop(self._heap)[2]()
