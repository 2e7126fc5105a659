"""Times in buckets that are 2 % wide, so that any number of them takes no room. Pure.

counts[bucket_of(0.0123)] += 1
quantile_s(counts, 0.99)
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

LEAST_S = 1e-6
WIDTH = math.log(1.02)


def bucket_of(seconds: float) -> int:
    """Of any time; what is below a microsecond counts as one."""
    return 0 if not seconds > LEAST_S else math.ceil(math.log(seconds / LEAST_S) / WIDTH)


def seconds_of(bucket: int) -> float:
    """Its upper end: no time in it was longer."""
    return LEAST_S * math.exp(bucket * WIDTH)


def quantile_s(counts: Mapping[int, int], share: float) -> float | None:
    """The time that ``share`` of all did not exceed; None where there are none."""
    whole = sum(counts.values())
    if not whole:
        return None
    least, passed = max(1, math.ceil(share * whole)), 0
    for bucket in sorted(counts):
        passed += counts[bucket]
        if passed >= least:
            return seconds_of(bucket)
    return None


def merged(all_counts: Iterable[Mapping[int, int]]) -> dict[int, int]:
    """The sum."""
    found: dict[int, int] = {}
    for counts in all_counts:
        for bucket, count in counts.items():
            found[bucket] = found.get(bucket, 0) + count
    return found
