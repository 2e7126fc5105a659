"""How long revisions take to answer, from the histograms on their replicas' /metrics pages. Pure.

    latency = with_pages(latency, {"web.2.a1": (2, page)})
    too_slow_s = threshold_s(latency.of(1), ratio=2)
    beyond(latency.of(2), too_slow_s)

A page counts from the first time that it is seen; a process that began anew counts from 0.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

FAMILY = "inferry_request_seconds_bucket"
LARGEST_PAGE = 4 * 1024 * 1024
MOST_BUCKETS = 200
LEAST_ANSWERS = 100
FLOOR_S = 0.020
"""Below this no answer is too slow, whatever the old revision takes: noise."""

Counts = Mapping[float, float]
"""Answers within each bound of seconds; the last one, infinity, has all."""


@dataclass(frozen=True, slots=True)
class Latency:
    """Sums by revision, and what each replica said last."""

    sums: Mapping[int, Counts] = field(default_factory=dict)
    last: Mapping[str, Counts] = field(default_factory=dict)

    def of(self, *revisions: int) -> Counts:
        """Of these together."""
        found: dict[float, float] = {}
        for revision in revisions:
            for bound, count in self.sums.get(revision, {}).items():
                found[bound] = found.get(bound, 0.0) + count
        return found


def with_pages(latency: Latency, pages: Mapping[str, tuple[int, bytes | None]]) -> Latency:
    """``pages``: revision and page by replica; a page that is missing or none says nothing."""
    sums, last = dict(latency.sums), dict(latency.last)
    for replica, (revision, page) in pages.items():
        now = None if page is None else counts_of(page)
        if now is None:
            continue
        before = last.get(replica)
        last[replica] = now
        if before is None:
            continue
        old = sums.get(revision, {})
        sums[revision] = {
            bound: old.get(bound, 0.0) + grown for bound, grown in _grown(before, now).items()
        }
    return Latency(sums, last)


def begun_anew(latency: Latency) -> Latency:
    """Nothing counted yet, from here on."""
    return Latency({}, latency.last)


def counts_of(page: bytes) -> Counts | None:
    """All scoring routes of a page together; None where it has no such histogram that makes
    sense."""
    if len(page) > LARGEST_PAGE or not page.endswith(b"\n"):
        return None
    found: dict[float, float] = {}
    try:
        for line in page.decode().split("\n"):
            if line.startswith(FAMILY):
                _add(found, line)
    except ValueError:
        return None
    ordered = [found[bound] for bound in sorted(found)]
    if math.inf not in found or ordered != sorted(ordered) or len(found) > MOST_BUCKETS:
        return None
    return found


def quantile_s(counts: Counts, share: float) -> float | None:
    """The bound within which that share of answers came; None: too few to tell, or beyond all."""
    whole = counts.get(math.inf, 0.0)
    if whole < LEAST_ANSWERS:
        return None
    bound = min(bound for bound, count in counts.items() if count >= share * whole)
    return None if math.isinf(bound) else bound


def beyond(counts: Counts, threshold_s: float) -> int:
    """Answers that surely took longer: those over the next bound."""
    whole = counts.get(math.inf, 0.0)
    within = [count for bound, count in counts.items() if bound >= threshold_s]
    return 0 if not within else max(0, int(whole - min(within)))


def threshold_s(old: Counts, ratio: float, share: float = 0.99) -> float | None:
    """What is too slow for a new revision beside that quantile of the old one; None: it does not
    say."""
    found = quantile_s(old, share)
    return None if found is None else max(FLOOR_S, found * ratio)


def _add(found: dict[float, float], line: str) -> None:
    """Raises ValueError for a line that is none."""
    labels, _, value = line.removeprefix(FAMILY).rpartition("}")
    pairs = dict(pair.split("=", 1) for pair in labels.removeprefix("{").split('",') if "=" in pair)
    route, bound = pairs.get("route", "").strip('"'), pairs.get("le", "").strip('"')
    if route != "/score" and "infer" not in route:
        return
    number = float(value)
    if not 0 <= number < 1e15:
        raise ValueError("no count")
    key = math.inf if bound == "+Inf" else float(bound)
    if math.isnan(key):
        raise ValueError("no bound")
    found[key] = found.get(key, 0.0) + number


def _grown(before: Counts, now: Counts) -> Counts:
    """Since before; all of it where the process began anew."""
    if set(before) != set(now) or any(now[bound] < before[bound] for bound in now):
        return now
    return {bound: now[bound] - before[bound] for bound in now}
