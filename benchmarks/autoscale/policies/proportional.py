"""Kubernetes' HorizontalPodAutoscaler on requests in flight, with its defaults: looks each 15 s,
replicas times (found / target), nothing within a tolerance of 10 %, at most doubled (or 4 more) in
15 s, and down to the highest wish of the last 300 s. Or on requests per second (a custom metric),
for who has measured what a replica can do."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, field

from runtime.autoscale.reading import Reading


@dataclass(slots=True)
class Proportional:
    """``target``: requests in flight of a replica, or a second with ``by_rate``."""

    target: float
    least: int
    most: int
    by_rate: bool = False
    interval_s: int = 15
    tolerance: float = 0.1
    down_s: float = 300.0
    _wishes: deque[tuple[float, int]] = field(default_factory=deque)

    def replicas(self, reading: Reading, wanted: int) -> int:
        wish = wanted
        if reading.ready:
            found = reading.arrived_rps or 0.0 if self.by_rate else reading.in_flight
            ratio = found / (self.target * reading.ready)
            if abs(ratio - 1.0) > self.tolerance:
                wish = math.ceil(ratio * reading.ready - 1e-9)
        elif reading.held:
            wish = max(1, wanted)
        self._wishes.append((reading.at_s, wish))
        while self._wishes[0][0] <= reading.at_s - self.down_s:
            self._wishes.popleft()
        if wish < wanted:
            wish = min(wanted, max(one for _, one in self._wishes))
        wish = min(wish, max(2 * wanted, wanted + 4))
        return min(max(wish, self.least), self.most)
