"""What a simulated replica does: batches of up to ``max_batch`` requests, each ``a_s * n + b_s``.

The server runs what has gathered whenever its engine is free (scoring/policy.py), so that batches
grow with the load, and refuses at the door what cannot be answered within the deadline.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Service:
    """``start_s``: the shortest and the longest time from a start to the first answer."""

    a_s: float = 0.010
    b_s: float = 0.020
    max_batch: int = 16
    deadline_s: float = 1.0
    start_s: tuple[float, float] = (8.0, 12.0)

    @property
    def full_batch_s(self) -> float:
        """Seconds of the largest batch."""
        return self.a_s * self.max_batch + self.b_s

    @property
    def rate_rps(self) -> float:
        """Requests a second of one replica at most."""
        return self.max_batch / self.full_batch_s

    @property
    def queue_s(self) -> float:
        """Seconds of full work that may lie before a replica so that the last of it is in time:
        the deadline less its own batch and the rest of the one that runs."""
        return max(0.0, self.deadline_s - 2.0 * self.full_batch_s)

    @property
    def mean_start_s(self) -> float:
        """Seconds from a start to the first answer."""
        return sum(self.start_s) / 2.0

    def batch(self, rate_rps: float) -> float:
        """Requests in a batch of a replica that is asked so often, on average; at least 1."""
        left = 1.0 - rate_rps * self.a_s
        if left <= 0.0:
            return float(self.max_batch)
        return min(max(rate_rps * self.b_s / left, 1.0), float(self.max_batch))

    def latency_s(self, rate_rps: float) -> float:
        """Seconds in a replica that keeps up: its batch, and half of the one that ran before."""
        batch = self.batch(rate_rps)
        batch_s = self.a_s * batch + self.b_s
        busy = min(1.0, rate_rps * batch_s / batch)
        return batch_s * (1.0 + busy / 2.0)

    def in_flight(self, rate_rps: float) -> float:
        """Requests in a replica that keeps up (Little's law)."""
        return rate_rps * self.latency_s(rate_rps)
