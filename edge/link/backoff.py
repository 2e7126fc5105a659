"""How long to wait before the next attempt to connect. Pure.

Full jitter: each wait is drawn from 0 to a bound that doubles with every failure. After a
connection that held, all devices of a broker lose it in the same moment, so the first wait is drawn
from a wider span: 2,000 devices come back over ten seconds, not at once (research/edge.md, herds).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

SPREAD = 10.0
"""Times ``min_s``: the span of the first wait after a connection that held."""
MIN_UPTIME_S = 30.0
"""A connection that ends sooner is a failure: the counter goes on."""


@dataclass(frozen=True, slots=True)
class Backoff:
    """``failures`` in a row so far. ``random`` draws from [0, 1)."""

    min_s: float = 1.0
    max_s: float = 120.0
    failures: int = 0

    def failed(self) -> Backoff:
        """After an attempt that did not connect."""
        return replace(self, failures=self.failures + 1)

    def lost(self, uptime_s: float) -> Backoff:
        """After a connection that was up for ``uptime_s``."""
        return replace(self, failures=0) if uptime_s >= MIN_UPTIME_S else self.failed()

    def wait_s(self, random: Callable[[], float]) -> float:
        """Before the next attempt."""
        if self.failures == 0:
            return random() * min(self.max_s, self.min_s * SPREAD)
        return random() * min(self.max_s, self.min_s * 2.0 ** min(self.failures, 32))
