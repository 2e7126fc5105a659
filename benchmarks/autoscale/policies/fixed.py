"""The same number of replicas, always."""

from __future__ import annotations

from dataclasses import dataclass

from runtime.autoscale.reading import Reading


@dataclass(slots=True)
class Fixed:
    """What somebody chose for the peak."""

    count: int
    interval_s: int = 60

    def replicas(self, reading: Reading, wanted: int) -> int:
        return self.count
