"""What a deployment teaches about itself while it runs: how long a replica takes to start, and what
rate of requests one can take at the declared load.

The second is why the load in flight alone is a bad guide: where requests are merged into batches, a
replica with a quarter of the declared load in flight may do two thirds of the work, so that taking
away three of four would overload the last one. All that is assumed is that the load in flight grows
at least as fast as the rate (queues do): then a replica that does ``y`` requests a second with
``x`` of ``target`` in flight can do at least ``y`` and at most ``y * target / x`` at the target.
Each look narrows what is known.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from runtime.autoscale.declared import Declared

START_S = 5.0
"""Assumed until the first replica was seen to start."""
LONGEST_START_S = 3600.0
HOLD_STARTS = 6.0
LONGEST_HOLD_S = 900.0
SLOWER = 0.5
FASTER = 0.1
"""A start that takes longer than thought counts more than one that takes less: what is learned
tends to four of five starts."""
SATURATED = 0.2
"""How far a look at full replicas pulls towards the rate that they do then."""
ALONE = 2.0
"""Fewer requests in a replica than this wait for nobody, however long they take."""
WIDE = 1.3
"""From this ratio of most to least on, the rate of a replica is still a guess."""


@dataclass(frozen=True, slots=True)
class Learned:
    """``rate_rps``: requests a second of one replica at the declared load; None: not known."""

    start_s: float = START_S
    starts_seen: int = 0
    rate_rps: float | None = None
    is_sure: bool = False
    """The rate was seen, not only bounded from afar."""

    def __repr__(self) -> str:
        rate = "?" if self.rate_rps is None else f"{self.rate_rps:.3g}/s"
        return f"<Learned start {self.start_s:.3g} s, replica {'' if self.is_sure else '~'}{rate}>"


def hold_s(declared: Declared, learned: Learned) -> float:
    """Seconds for which fewer must have been enough before replicas go: as declared, and longer
    where they would take long to come back. Bursts that come again and again are the reason: with
    replicas that start slowly, keeping them costs less than any headroom that does as much."""
    if not learned.starts_seen:
        return declared.down_s
    return max(declared.down_s, min(HOLD_STARTS * learned.start_s, LONGEST_HOLD_S))


def with_start(learned: Learned, took_s: float) -> Learned:
    """One more replica took so long to be ready."""
    if not math.isfinite(took_s) or took_s < 0.0:
        return learned
    took_s = min(took_s, LONGEST_START_S)
    if not learned.starts_seen:
        return replace(learned, start_s=took_s, starts_seen=1)
    weight = SLOWER if took_s > learned.start_s else FASTER
    return replace(
        learned,
        start_s=learned.start_s + weight * (took_s - learned.start_s),
        starts_seen=learned.starts_seen + 1,
    )


def with_rate(
    learned: Learned, declared: Declared, *, rate_rps: float, in_flight: float, drain_s: float
) -> Learned:
    """A replica answered ``rate_rps`` requests a second with so many in flight, on average."""
    if not rate_rps > 0.0 or not math.isfinite(rate_rps) or not math.isfinite(in_flight):
        return learned
    target = declared.target_in_flight
    if in_flight >= target or (in_flight >= ALONE and drain_s >= declared.target_queue_s):
        return _full(learned, rate_rps)
    most = rate_rps * target / max(in_flight, 1e-9)
    known = learned.rate_rps
    if known is None:  # nearer to the least, as what is in flight grows faster than the rate
        guess = rate_rps * (most / rate_rps) ** 0.3
        return replace(learned, rate_rps=guess, is_sure=most < WIDE * rate_rps)
    return replace(
        learned,
        rate_rps=min(max(known, rate_rps), most),
        is_sure=learned.is_sure or most < WIDE * rate_rps,
    )


def _full(learned: Learned, rate_rps: float) -> Learned:
    known = learned.rate_rps
    if known is None or not learned.is_sure:
        return replace(learned, rate_rps=rate_rps, is_sure=True)
    return replace(learned, rate_rps=known + SATURATED * (rate_rps - known))
