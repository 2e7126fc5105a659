"""What a batch costs: ``a * rows + b`` seconds, fitted online; and whether batching pays at all.

On a small model one run of 32 rows takes twice as long as one of a single row; on a convolution 33
times as long (research/performance.md), and then merging requests only makes the first wait for the
last. So every batch's time goes into a fit whose old samples fade, and merging is switched off by
itself where a row in a batch costs about what a row alone costs.
"""

from __future__ import annotations

from dataclasses import dataclass, field

FADE = 0.98
"""Weight of what is known, for each new batch: the last 50 or so count."""
OUTLIER = 4.0
"""A batch that took this many times what was expected was held up by something else."""
PAYS = 1.10
"""Merging starts where a row in a batch of REFERENCE_ROWS costs this much less than one alone..."""
STOPS = 1.04
"""...and stops below this."""
REFERENCE_ROWS = 8
UNKNOWN_S = 0.1
"""Assumed for a request before the first was measured."""
_LEAST_S = 1e-7


@dataclass(slots=True)
class CostModel:
    """Seconds of a batch by its rows. ``pays`` says whether merging is worth it."""

    a: float = 0.0
    """Seconds that each row adds."""
    b: float = 0.0
    """Seconds of a run whatever its rows."""
    pays: bool = True
    known: bool = False
    _weight: float = field(default=0.0, repr=False)
    _n: float = field(default=0.0, repr=False)
    _s: float = field(default=0.0, repr=False)
    _nn: float = field(default=0.0, repr=False)
    _ns: float = field(default=0.0, repr=False)

    def seconds(self, rows: int) -> float:
        """Expected seconds of one batch of ``rows`` rows."""
        return self.a * rows + self.b if self.known else UNKNOWN_S

    @property
    def gain(self) -> float:
        """How many times cheaper a row is in a batch of REFERENCE_ROWS than alone."""
        together = self.a + self.b / REFERENCE_ROWS
        return (self.a + self.b) / together if together > 0 else 1.0

    def observe(self, rows: int, seconds: float) -> None:
        """Learn from a batch of ``rows`` rows that took ``seconds``."""
        rows, seconds = max(1, rows), max(seconds, _LEAST_S)
        if self.known:
            seconds = min(seconds, OUTLIER * self.seconds(rows))
        self._weight = self._weight * FADE + 1.0
        self._n = self._n * FADE + rows
        self._s = self._s * FADE + seconds
        self._nn = self._nn * FADE + rows * rows
        self._ns = self._ns * FADE + rows * seconds
        self._fit()
        self.known = True
        gain = self.gain
        self.pays = gain >= (STOPS if self.pays else PAYS)

    def _fit(self) -> None:
        weight = self._weight
        mean_n, mean_s = self._n / weight, self._s / weight
        spread = self._nn / weight - mean_n * mean_n
        if spread > 0.05 * mean_n * mean_n:
            a = (self._ns / weight - mean_n * mean_s) / spread
            self.a = min(max(a, 0.0), mean_s / mean_n)  # neither part is ever negative
            self.b = mean_s - self.a * mean_n
            return
        # All batches have had about the same rows: they tell how fast it is, not how it grows.
        expected = self.a * mean_n + self.b
        if expected <= 0:
            self.a, self.b = 0.0, mean_s
            return
        scale = mean_s / expected
        self.a, self.b = self.a * scale, self.b * scale


def ladder(limit: int) -> list[int]:
    """Batch sizes worth measuring before the first request: 1, 2, 4 ... up to ``limit``."""
    sizes = [1]
    while sizes[-1] * 2 <= min(limit, 32):
        sizes.append(sizes[-1] * 2)
    return sizes
