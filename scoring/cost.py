"""What a batch costs: ``a * rows + b`` seconds, fitted online; and whether batching pays at all.

On a small model one run of 32 rows takes twice as long as one of a single row; on a convolution 33
times as long (research/performance.md), and then merging requests only makes the first wait for the
last. So every batch's time goes into a fit whose old samples fade, and merging is switched off by
itself where a row in a batch costs about what a row alone costs.

The fit is a straight line through (1 / rows, seconds / rows), so that noise, which grows with the
time, weighs the same for small and large batches. What has about the rows of all others says how
fast the machine is, not how the cost grows: it only scales the line. Else the rare larger batches,
which a server that does not merge makes only now and then to see, would fade among thousands of
single rows before the next one comes.
"""

from __future__ import annotations

from dataclasses import dataclass, field

FADE = 0.98
"""Weight of what is known, for each new batch: the last 50 or so count."""
SPREAD = 0.05
"""Relative variance of 1 / rows from which on a line can be drawn (single rows and some pairs)."""
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
JITTER_WEIGHT = 0.05
MANY_ROWS = 1 << 30
SURE = 3.0
"""Jitters on top of the expected time: a deadline is promised only with this to spare."""


@dataclass(slots=True)
class CostModel:
    """Seconds of a batch by its rows. ``pays`` says whether merging is worth it; made with True, it
    is assumed to be until batches of several sizes were seen."""

    a: float = 0.0
    """Seconds that each row adds."""
    b: float = 0.0
    """Seconds of a run whatever its rows."""
    jitter: float = 0.0
    """Seconds by which a batch's time differs from what was expected, typically."""
    pays: bool = False
    known: bool = False
    _weight: float = field(default=0.0, repr=False)
    _x: float = field(default=0.0, repr=False)
    _y: float = field(default=0.0, repr=False)
    _xx: float = field(default=0.0, repr=False)
    _xy: float = field(default=0.0, repr=False)

    def seconds(self, rows: int) -> float:
        """Expected seconds of one batch of ``rows`` rows."""
        return self.a * rows + self.b if self.known else UNKNOWN_S

    def surely(self, rows: int) -> float:
        """Seconds within which nearly every batch of ``rows`` rows is done."""
        return self.seconds(rows) + SURE * self.jitter if self.known else UNKNOWN_S

    def rows_within(self, seconds: float) -> int:
        """How many rows a batch may have that is surely done in ``seconds``; at least 1."""
        left_s = seconds - self.b - SURE * self.jitter
        if not self.known or self.a <= 0:
            return MANY_ROWS
        return max(1, min(MANY_ROWS, int(left_s / self.a)))

    @property
    def gain(self) -> float:
        """How many times cheaper a row is in a batch of REFERENCE_ROWS than alone."""
        together = self.a + self.b / REFERENCE_ROWS
        return (self.a + self.b) / together if together > 0 else 1.0

    def observe(self, rows: int, seconds: float) -> None:
        """Learn from a batch of ``rows`` rows that took ``seconds``."""
        rows, seconds = max(1, rows), max(seconds, _LEAST_S)
        x = 1.0 / rows
        if self.known:
            expected = self.seconds(rows)
            seconds = min(seconds, OUTLIER * expected)
            self.jitter += JITTER_WEIGHT * (abs(seconds - expected) - self.jitter)
            mean = self._x / self._weight
            if (x - mean) ** 2 <= SPREAD * mean * mean:
                self._scale(1.0 + (1.0 - FADE) * (seconds / expected - 1.0))
                return
        y = seconds * x
        self._weight = self._weight * FADE + 1.0
        self._x = self._x * FADE + x
        self._y = self._y * FADE + y
        self._xx = self._xx * FADE + x * x
        self._xy = self._xy * FADE + x * y
        self._fit()
        self.known = True
        self.pays = self.gain >= (STOPS if self.pays else PAYS)

    def _scale(self, factor: float) -> None:
        self.a *= factor
        self.b *= factor
        self._y *= factor
        self._xy *= factor

    def _fit(self) -> None:
        weight = self._weight
        mean_x, mean_y = self._x / weight, self._y / weight
        spread = self._xx / weight - mean_x * mean_x
        if spread > SPREAD * mean_x * mean_x:
            b = (self._xy / weight - mean_x * mean_y) / spread
            self.b = min(max(b, 0.0), mean_y / mean_x)  # neither part is ever negative
            self.a = max(mean_y - self.b * mean_x, 0.0)
            return
        # Too few of other rows yet: they do not say how it grows.
        expected = self.a + self.b * mean_x
        if expected <= 0:  # until a trial shows otherwise, it is what it was assumed to be
            self.a, self.b = (0.0, mean_y / mean_x) if self.pays else (mean_y, 0.0)
            return
        scale = mean_y / expected
        self.a, self.b = self.a * scale, self.b * scale


def ladder(limit: int) -> list[int]:
    """Batch sizes worth measuring before the first request: 1, 2, 4 ... up to ``limit``."""
    sizes = [1]
    while sizes[-1] * 2 <= min(limit, 32):
        sizes.append(sizes[-1] * 2)
    return sizes
