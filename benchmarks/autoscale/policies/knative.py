"""Knative's pod autoscaler: requests in flight of the last 60 s over the target; panic when those
of the last 6 s need twice the ready ones, which lasts 60 s and in which nothing goes; at most
halved."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, field

from runtime.autoscale.reading import Reading


@dataclass(slots=True)
class Knative:
    """``target``: requests in flight of a replica, or a second with ``by_rate`` (Knative has both).
    It looks each 2 s."""

    target: float
    least: int
    most: int
    by_rate: bool = False
    interval_s: int = 2
    stable_s: float = 60.0
    panic_s: float = 6.0
    panic_threshold: float = 2.0
    _seen: deque[tuple[float, float]] = field(default_factory=deque)
    _panic_until_s: float = -1.0
    _panic_most: int = 0

    def replicas(self, reading: Reading, wanted: int) -> int:
        now_s = reading.at_s
        found = reading.arrived_rps or 0.0 if self.by_rate else reading.in_flight
        self._seen.append((now_s, found + reading.held))
        while self._seen[0][0] <= now_s - self.stable_s:
            self._seen.popleft()
        ready = max(1, reading.ready)
        stable = self._wish(now_s - self.stable_s)
        panic = self._wish(now_s - self.panic_s)
        stable = max(stable, math.floor(ready / 2.0))
        if panic / ready >= self.panic_threshold:
            if now_s >= self._panic_until_s:
                self._panic_most = 0
            self._panic_until_s = now_s + self.stable_s
        if now_s < self._panic_until_s:
            self._panic_most = max(self._panic_most, panic, ready, stable)
            stable = self._panic_most
        return min(max(stable, self.least), self.most)

    def _wish(self, since_s: float) -> int:
        found = [in_flight for at_s, in_flight in self._seen if at_s > since_s]
        return math.ceil(sum(found) / len(found) / self.target - 1e-9)
