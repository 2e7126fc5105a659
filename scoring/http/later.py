"""Work of a millisecond or so that must not pile up on the event loop.

Thirty connections can each bring a body of a quarter of a megabyte in one turn of the loop: parsed
there and then, everybody else, health first, would wait for all of them. So each waits here for its
turn, and the loop reads and answers between two.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from time import monotonic

TURN_S = 0.001


class Later:
    """Runs what it was given in order, for about TURN_S in each turn of the loop."""

    def __init__(self) -> None:
        self._waiting: deque[Callable[[], None]] = deque()
        self._is_scheduled = False

    def run(self, work: Callable[[], None]) -> None:
        """Soon; ``work`` must not raise."""
        self._waiting.append(work)
        if not self._is_scheduled:
            self._is_scheduled = True
            asyncio.get_running_loop().call_soon(self._turn)

    def _turn(self) -> None:
        until = monotonic() + TURN_S
        waiting = self._waiting
        try:
            while waiting:
                waiting.popleft()()
                if monotonic() >= until:
                    break
        finally:
            self._is_scheduled = bool(waiting)
            if waiting:
                asyncio.get_running_loop().call_soon(self._turn)
