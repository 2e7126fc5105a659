"""At most so many bytes a second."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

BURST_S = 0.5
"""So much of the rate may come at once."""
SLICE_S = 0.2
"""A wait looks this often whether it is still wanted, and whether the rate has changed."""
SHORTEST_S = 0.001


class RateCap:
    """Shared by all downloads of a device. ``bytes_per_s`` None: no cap; it may change any time."""

    def __init__(
        self,
        bytes_per_s: int | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.bytes_per_s = bytes_per_s
        self._clock = clock
        self._sleep = sleep
        self._lock = threading.Lock()
        self._tokens = 0.0
        self._at = clock()

    def take(self, size_bytes: int, check: Callable[[], None]) -> None:
        """Wait until ``size_bytes`` may have come. ``check`` may raise meanwhile."""
        with self._lock:
            self._refill()
            self._tokens -= size_bytes
        while True:
            with self._lock:
                self._refill()
                rate = self.bytes_per_s
                wait_s = 0.0 if rate is None else -self._tokens / rate
            if wait_s < SHORTEST_S:
                return
            check()
            self._sleep(min(wait_s, SLICE_S))

    def _refill(self) -> None:
        now = self._clock()
        rate = self.bytes_per_s
        if rate is None:
            self._tokens = 0.0
        else:
            self._tokens = min(self._tokens + (now - self._at) * rate, rate * BURST_S)
        self._at = now
