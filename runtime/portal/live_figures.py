"""What deployments do now: asked of their replicas' /metrics pages, and told as rate and latency.

Pages are asked for at most once each ``EVERY_S``, however many look. Where a replica is comes from
what the controller saw, never from who asks.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from registry.deployments import Deployment
from runtime.deployments.latency import Counts, counts_of
from runtime.deployments.pages import fetched_all

EVERY_S = 1.5
KEPT_S = 60.0
"""Older counts say nothing of now."""
MOST = 200
Fetch = Callable[[Mapping[str, tuple[str, int]]], Mapping[str, bytes | None]]


@dataclass(frozen=True, slots=True)
class Figures:
    """``rate_per_s``, ``p50_s`` and ``p99_s``: since the look before; None: not known (yet, or no
    replica says it). ``answered``: requests in all since the replicas began."""

    replicas: int = 0
    asked: int = 0
    answered: int | None = None
    rate_per_s: float | None = None
    p50_s: float | None = None
    p99_s: float | None = None
    over_s: float | None = None


@dataclass(slots=True)
class _Seen:
    at_s: float
    counts: Mapping[str, Counts]
    figures: Figures
    lock: threading.Lock = field(default_factory=threading.Lock)


class LiveFigures:
    """Of all deployments; any thread may ask."""

    def __init__(
        self, fetch: Fetch = fetched_all, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._fetch = fetch
        self._clock = clock
        self._lock = threading.Lock()
        self._seen: dict[tuple[str, str], _Seen] = {}

    def of(self, workspace: str, deployment: Deployment) -> Figures:
        """Now, or a moment ago."""
        key = (workspace, deployment.name)
        with self._lock:
            if key not in self._seen and len(self._seen) >= MOST:
                del self._seen[min(self._seen, key=lambda each: self._seen[each].at_s)]
            seen = self._seen.setdefault(key, _Seen(-math.inf, {}, Figures()))
        with seen.lock:
            now_s = self._clock()
            if now_s - seen.at_s < EVERY_S:
                return seen.figures
            places = places_of(deployment)
            pages = self._fetch(places)
            counts = {
                id: found
                for id, page in pages.items()
                if page is not None and (found := counts_of(page)) is not None
            }
            is_recent = now_s - seen.at_s <= KEPT_S
            before = seen.counts if is_recent else {}
            figures = figures_of(before, counts, now_s - seen.at_s if is_recent else None)
            seen.figures = replace(figures, replicas=len(places))
            seen.at_s, seen.counts = now_s, counts
            return seen.figures


def places_of(deployment: Deployment) -> dict[str, tuple[str, int]]:
    """Address and port of the replicas that are ready, by id."""
    found: dict[str, tuple[str, int]] = {}
    for each in () if deployment.observed is None else deployment.observed.replicas:
        host, _, port = each.address.rpartition(":")
        if each.state == "ready" and host and port.isascii() and port.isdigit():
            found[each.id] = (host.strip("[]"), int(port))
    return found


def figures_of(
    before: Mapping[str, Counts], now: Mapping[str, Counts], over_s: float | None
) -> Figures:
    """Pure. A replica that was not there before, or began anew, says nothing of the time between,
    but what it has answered in all."""
    answered = int(sum(counts.get(math.inf, 0.0) for counts in now.values())) if now else None
    if over_s is None or over_s <= 0:
        return Figures(asked=len(now), answered=answered)
    grown: dict[float, float] = {}
    known = 0
    for id, counts in now.items():
        old = before.get(id)
        if old is None or set(old) != set(counts) or any(counts[b] < old[b] for b in counts):
            continue
        known += 1
        for bound, count in counts.items():
            grown[bound] = grown.get(bound, 0.0) + count - old[bound]
    whole = grown.get(math.inf, 0.0)
    return Figures(
        asked=len(now),
        answered=answered,
        rate_per_s=whole / over_s if known else None,
        p50_s=_within(grown, 0.5),
        p99_s=_within(grown, 0.99),
        over_s=over_s,
    )


def _within(counts: Counts, share: float) -> float | None:
    whole = counts.get(math.inf, 0.0)
    if whole <= 0:
        return None
    bound = min(bound for bound, count in counts.items() if count >= share * whole)
    return None if math.isinf(bound) else bound
