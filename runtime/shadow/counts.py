"""What came of the copies. Pure.

counts = Counts(since="2026-11-27T08:00:00Z")
counts.add(comparison, primary_s=0.004, shadow_s=0.006)
line("revision 3", counts)
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:  # whoever only reads counts needs no numpy
    from scoring.watching.comparison import Comparison

GROWTH = 1.04
"""Times are kept in steps of 4 %, which is how exact a quantile is."""
LEAST_S = 1e-5
MOST_STEPS = 500
KEPT = 5
FEW = 100
REASONS = {
    "full": "more were under way than are kept",
    "large": "request and answer are too large",
    "primary": "the primary refused or failed",
    "absent": "the shadow had no replica",
    "away": "the comparer was away",
    "lost": "the comparer ended",
    "broken": "the client or the primary went away",
}
"""Why a copy was not made."""


class Difference(msgspec.Struct, frozen=True):
    """``input_sha256``: of the request's body, which is not kept; beginnings of the two answers."""

    at: str
    text: str
    input_sha256: str
    primary: str
    shadow: str


class Times(msgspec.Struct):
    """Seconds, as a histogram of growing steps."""

    steps: dict[int, int] = {}
    count: int = 0
    sum_s: float = 0.0

    def add(self, seconds: float) -> None:
        """One more."""
        step = 0
        if seconds > LEAST_S:
            step = min(MOST_STEPS, math.ceil(math.log(seconds / LEAST_S, GROWTH)))
        self.steps[step] = self.steps.get(step, 0) + 1
        self.count += 1
        self.sum_s += seconds

    def quantile_s(self, share: float) -> float | None:
        """Within 4 %; None where there are none."""
        left = math.ceil(share * self.count)
        for step in sorted(self.steps):
            left -= self.steps[step]
            if left <= 0:
                return float(LEAST_S * GROWTH ** (step - 0.5))
        return None


class Counts(msgspec.Struct):
    """Of one shadow. ``close``: those of ``equal`` whose numbers differ within the tolerances;
    ``failed``: the shadow failed, or did not answer, where the primary answered. ``largest``: of
    differences between two numbers, infinite ones aside. Times are of copies that were answered."""

    since: str
    equal: int = 0
    close: int = 0
    different: int = 0
    failed: int = 0
    dropped: dict[str, int] = {}
    largest: float = 0.0
    primary: Times = msgspec.field(default_factory=Times)
    shadow: Times = msgspec.field(default_factory=Times)
    differences: list[Difference] = []
    last_failure: str = ""

    @property
    def copied(self) -> int:
        """All that were put to the shadow."""
        return self.equal + self.different + self.failed

    def add(self, found: Comparison, primary_s: float, shadow_s: float) -> None:
        """One copy that the shadow answered, in some way."""
        if found.verdict == "error":
            self.fail(found.text)
            return
        self.primary.add(primary_s)
        self.shadow.add(shadow_s)
        if math.isfinite(found.max_absolute):
            self.largest = max(self.largest, found.max_absolute)
        if found.verdict == "different":
            self.different += 1
        else:
            self.equal += 1
            self.close += found.verdict == "close"

    def fail(self, why: str) -> None:
        """One copy that it did not answer, or with a failure of its own."""
        self.failed += 1
        self.last_failure = why[:200]

    def drop(self, reason: str, count: int = 1) -> None:
        """Copies that were not made."""
        self.dropped[reason] = self.dropped.get(reason, 0) + count

    def keep(self, difference: Difference) -> None:
        """The last few, of as many inputs."""
        others = [each for each in self.differences if each.input_sha256 != difference.input_sha256]
        self.differences = [*others, difference][-KEPT:]

    def p99_ratio(self) -> float | None:
        """The shadow's p99 beside the primary's; None where there are too few to tell."""
        if self.shadow.count < FEW:
            return None
        return _ratio(self.shadow.quantile_s(0.99), self.primary.quantile_s(0.99))


def line(what: str, counts: Counts) -> str:
    """``revision 3 as shadow: 1,204 copies, 1,201 equal, 3 different (largest 0.02), p99 1.4 x``"""
    parts = [f"{counts.copied:,} copies", f"{counts.equal:,} equal"]
    if counts.different or counts.largest:
        largest = f" (largest {counts.largest:.3g})" if counts.largest else ""
        parts.append(f"{counts.different:,} different{largest}")
    if counts.failed:
        parts.append(f"{counts.failed:,} failed")
    if dropped := sum(counts.dropped.values()):
        parts.append(f"{dropped:,} dropped")
    if (ratio := counts.p99_ratio()) is not None:
        parts.append(f"p99 {ratio:.2g} x")
    return f"{what} as shadow: {', '.join(parts)}"


def _ratio(shadow: float | None, primary: float | None) -> float | None:
    return shadow / primary if shadow is not None and primary else None
