"""What a deployment teaches about itself while it runs: how long a replica takes to start, and what
rate of requests one can take at the declared load.

The second is why the load in flight alone is a bad guide: where requests are merged into batches, a
replica with a quarter of the declared load in flight may do two thirds of the work, so that taking
away three of four would overload the last one. All that is assumed is that the load in flight grows
at least as fast as the rate (queues do): then a replica that does ``y`` requests a second with
``x`` of ``target`` in flight can do at least ``y`` and at most ``y * target / x`` at the target.
Each look pulls what is known between these two. What is in flight is seen only at the moment of a
look, so that ``x`` says something only where there is enough of it. Where replicas do all that they
are thought to be able to do, and have room left, a little more is tried.
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
PULL = 0.2
"""How far one look pulls towards what it shows."""
TRIED = 1.05
TRIES = 0.05
"""So much more is tried where there is room, and how far one look goes towards it."""
ROOM = 0.7
"""Below this part of the target in flight, a replica has room."""
TELLING = 0.25
"""From this part of the target on, what is in flight tells what there may be at most..."""
FEWEST_SEEN = 20.0
"""...if so many requests were seen in flight, all replicas and looks together."""
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


@dataclass(frozen=True, slots=True)
class Look:
    """What replicas did on average over a few looks: requests each answered in a second, and had in
    flight. ``seen``: requests seen in flight in all."""

    rate_rps: float
    in_flight: float
    drain_s: float
    seen: float


def with_rate(learned: Learned, declared: Declared, look: Look) -> Learned:
    """One more look at replicas that all worked."""
    rate, in_flight, target = look.rate_rps, look.in_flight, declared.target_in_flight
    if not (0.0 < rate < math.inf and 0.0 <= in_flight < math.inf):
        return learned
    known = learned.rate_rps
    is_late = in_flight >= ALONE and look.drain_s >= declared.target_queue_s
    if in_flight >= target or is_late:
        pulled = rate if known is None or not learned.is_sure else known + PULL * (rate - known)
        return replace(learned, rate_rps=pulled, is_sure=True)
    is_telling = in_flight >= TELLING * target and look.seen >= FEWEST_SEEN
    most = rate * target / in_flight if is_telling else math.inf
    if known is None:
        if not is_telling:
            return learned
        # Nearer to the least, as what is in flight grows faster than the rate.
        return replace(learned, rate_rps=rate * (most / rate) ** 0.3, is_sure=most < WIDE * rate)
    if known > most:
        known += PULL * (most - known)
    elif known < rate:
        known += PULL * (rate - known)
    elif known < rate * TRIED and in_flight < ROOM * target:
        known += TRIES * (rate * TRIED - known)
    return replace(learned, rate_rps=known, is_sure=learned.is_sure or most < WIDE * rate)
