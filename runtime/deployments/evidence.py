"""Whether a new revision does worse than the one before, told by the answers of both. Pure.

A share is judged by the bounds of Wilson's interval (E. B. Wilson, Probable inference, JASA 22,
1927), so that few answers prove little, and one failure nothing. It is looked at again and again,
hence a wide interval.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from registry.deployments import Rollout

Z = 3.0
"""Standard deviations: once in 740 comparisons by chance, on one side."""
LEAST_FAILURES = 3
SLOW_SHARE = 0.01
"""Of answers beyond a p99, by its definition."""
SLOWER_SHARE = 0.5
"""Of answers beyond a median."""


@dataclass(frozen=True, slots=True)
class Answers:
    """Of one revision since the rollout began. ``failed``: 5xx and connections that broke;
    ``slow``: those that took longer than ``Rollout.max_p99_ratio`` times the old one's p99;
    ``slower``: than so many times its median, which a busy machine hides less."""

    requests: int = 0
    failed: int = 0
    slow: int = 0
    slower: int = 0


def complaint(settings: Rollout, old: Answers, new: Answers) -> str | None:
    """What is wrong with the new one, in one line; None: nothing that is sure."""
    allowed = max(settings.max_error_share, most(old.failed, old.requests))
    if new.failed >= LEAST_FAILURES and least(new.failed, new.requests) > allowed:
        return (
            f"{new.failed} of {new.requests} requests failed"
            f" (before it {old.failed} of {old.requests})"
        )
    if new.slow >= LEAST_FAILURES and least(new.slow, new.requests) > SLOW_SHARE:
        return (
            f"{new.slow} of {new.requests} requests took over {settings.max_p99_ratio:g} times the"
            " p99 of the revision before it"
        )
    if least(new.slower, new.requests) > SLOWER_SHARE:
        return (
            f"{new.slower} of {new.requests} requests took over {settings.max_p99_ratio:g} times"
            " the median of the revision before it"
        )
    return None


def least(hits: int, of: int) -> float:
    """The lower bound of a share; 0 where nothing is known."""
    return 0.0 if of <= 0 else _bound(hits, of, -Z)


def most(hits: int, of: int) -> float:
    """The upper bound of a share that must be believed: 0 where nothing failed, as a revision that
    never failed excuses nothing."""
    return 0.0 if of <= 0 or hits == 0 else _bound(hits, of, Z)


def _bound(hits: int, of: int, z: float) -> float:
    share, square = min(max(hits, 0), of) / of, z * z
    spread = math.sqrt(share * (1 - share) / of + square / (4 * of * of))
    middle = share + square / (2 * of)
    return min(1.0, max(0.0, (middle + math.copysign(abs(z) * spread, z)) / (1 + square / of)))
