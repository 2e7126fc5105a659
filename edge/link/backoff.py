"""How long to wait before the next attempt to connect. Pure.

Full jitter: each wait is drawn from 0 to a bound that doubles with every failure. A connection that
held is lost by all devices of a broker in the same moment, so the bounds after it are wider: 2,000
devices come back over ten seconds and more, not at once, and those that find the broker still away
do not gather for its return either (research/edge.md, herds; measured by benchmarks/edge/herd.py).
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
    """``failures`` in a row so far. ``spread``: how much wider all bounds are."""

    min_s: float = 1.0
    max_s: float = 60.0
    failures: int = 0
    spread: float = 1.0

    def failed(self) -> Backoff:
        """After an attempt that did not connect."""
        return replace(self, failures=self.failures + 1)

    def lost(self, uptime_s: float) -> Backoff:
        """After a connection that was up for ``uptime_s``."""
        if uptime_s < MIN_UPTIME_S:
            return self.failed()
        return replace(self, failures=0, spread=SPREAD)

    def wait_s(self, random: Callable[[], float]) -> float:
        """Before the next attempt. ``random`` draws from [0, 1)."""
        bound = self.min_s * self.spread * 2.0 ** min(self.failures, 32)
        return random() * min(self.max_s, bound)
