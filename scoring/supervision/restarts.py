"""When a process that ended is started again. Pure."""

from __future__ import annotations

BACKOFF_S = (0.0, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)
"""Seconds before the first restart in a row, the second, ..."""
SETTLED_S = 0.5
"""A process that was ready for so long was in order; its death begins a new row."""


class Restarts:
    """The restarts in a row of one seat among the server processes."""

    def __init__(self) -> None:
        self._in_row = 0

    def delay_s(self, *, ready_for_s: float) -> float:
        """Seconds to wait now that the process ended, having been ready for ``ready_for_s``."""
        if ready_for_s >= SETTLED_S:
            self._in_row = 0
        delay = BACKOFF_S[min(self._in_row, len(BACKOFF_S) - 1)]
        self._in_row += 1
        return delay
