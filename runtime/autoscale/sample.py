"""What one look at a deployment sees: its replicas, and what each says on GET /metrics.

A replica that does not answer has ``load`` None. That is not a load of zero.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

ABSURD = 1e12
"""No count or time of a replica is so large; who says so says nothing."""


@dataclass(frozen=True, slots=True)
class Load:
    """One replica's own numbers. The three totals are counters, which begin at 0 with its process:
    requests that came to an end, those of them that were answered, and those that missed (refused
    or dropped for want of room or time)."""

    in_flight: float
    drain_s: float
    """Seconds until all that is in flight will be answered, as the replica expects."""
    ended_total: float = 0.0
    answered_total: float = 0.0
    missed_total: float = 0.0

    @property
    def is_sane(self) -> bool:
        """Every number is one that a replica can have."""
        return all(
            0.0 <= value < ABSURD  # false for NaN
            for value in (
                *(self.in_flight, self.drain_s),
                *(self.ended_total, self.answered_total, self.missed_total),
            )
        )


@dataclass(frozen=True, slots=True)
class Replica:
    """``name`` is the process's: one that was started anew has another. Times are monotonic."""

    name: str
    started_s: float
    ready_s: float | None = None
    """When it first could answer; None: it has not yet."""
    load: Load | None = None

    @property
    def start_took_s(self) -> float | None:
        """Seconds from its start until it was ready; None: not known, or nothing sensible."""
        if self.ready_s is None:
            return None
        took_s = self.ready_s - self.started_s
        return took_s if math.isfinite(took_s) and 0.0 <= took_s < ABSURD else None


@dataclass(frozen=True, slots=True)
class Sample:
    """All replicas at one monotonic second; those that are stopping are none of them."""

    at_s: float
    replicas: tuple[Replica, ...] = ()
    held: int = 0
    """Requests that wait outside of the replicas: because none is ready (activation.py), or in the
    balancer's queue."""
