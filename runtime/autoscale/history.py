"""What has been seen of a deployment, in bounded memory: the past that a decision looks at.

    history = observe(declared, history, sample, now_s)     a new one; the old is as it was

Samples that are not newer than the last one, or are from the future, are dropped. Should the clock
go backwards (another boot, another host), what was seen is forgotten and what was learned is kept.
After a gap the stabilisation windows begin anew: what nobody watched cannot have been calm.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from runtime.autoscale import extremes
from runtime.autoscale.declared import Declared
from runtime.autoscale.demand import LONGEST_WINDOW_S, Demand, demand, interval_s
from runtime.autoscale.extremes import Parts
from runtime.autoscale.learned import Learned, Look, hold_s, with_rate, with_start
from runtime.autoscale.reading import Counted, Reading, read
from runtime.autoscale.sample import Sample

MOST_READINGS = 160
FUTURE_S = 1.0
"""A sample may be this much ahead of the clock that is asked afterwards."""
RATE_WINDOW_S = 5.0
"""The rate of a replica is learned from the mean of so long, and of so many looks at least."""
RATE_LOOKS = 3.0
FEWEST_LOOKS = 2
ANSWERS = 30.0
"""...and of so many answers, as far as they were seen: fewer are a matter of chance..."""
FEWEST_ANSWERS = 10.0
"""...and nothing is learned from so few."""


@dataclass(frozen=True, slots=True)
class History:
    """``newest`` may be one that says nothing; ``readings``, of the last minute, are not."""

    newest: Reading | None = None
    readings: tuple[Reading, ...] = ()
    demand: Demand | None = None
    """Of the newest reading; None: it says nothing."""
    highs: Parts = ()
    lows: Parts = ()
    idle_since_s: float | None = None
    """Since then it is known that nobody has asked."""
    learned: Learned = field(default_factory=Learned)
    counted: Mapping[str, Counted] = field(default_factory=dict, repr=False)


def observe(declared: Declared, history: History, sample: Sample, now_s: float) -> History:
    """The history with one more sample; the same one where the sample is dropped. Never raises for
    what a sample says."""
    history = since_boot(history, now_s)
    if not _is_next(history, sample.at_s, now_s):
        return history
    reading, counted = read(sample, history.counted)
    return observe_reading(declared, replace(history, counted=counted), reading, now_s)


def observe_reading(
    declared: Declared, history: History, reading: Reading, now_s: float
) -> History:
    """As ``observe``, for who has the deployment's own numbers already."""
    history = since_boot(history, now_s)
    if not _is_next(history, reading.at_s, now_s):
        return history
    if reading.is_blind:
        return replace(history, newest=reading, demand=None, idle_since_s=None)
    at_s, before = reading.at_s, history.readings
    if before and at_s - before[-1].at_s > declared.stale_s:  # a gap
        history = History(learned=history.learned, counted=history.counted)
    readings = _recent(history.readings, reading)
    learned = _learned(declared, history.learned, readings)
    found = demand(declared, learned, readings)
    return History(
        newest=reading,
        readings=readings,
        demand=found,
        highs=extremes.with_need(
            history.highs, max, hold_s(declared, learned), at_s, found.replicas
        ),
        lows=extremes.with_need(history.lows, min, declared.up_s, at_s, found.replicas),
        idle_since_s=_idle_since_s(history, reading),
        learned=learned,
        counted=history.counted,
    )


def since_boot(history: History, now_s: float) -> History:
    """The history without what a clock that went backwards has made nonsense of."""
    newest = history.newest
    if newest is None or not math.isfinite(now_s) or newest.at_s <= now_s + FUTURE_S:
        return history
    return History(learned=history.learned)


def _is_next(history: History, at_s: float, now_s: float) -> bool:
    if not (math.isfinite(at_s) and math.isfinite(now_s)) or at_s > now_s + FUTURE_S:
        return False
    return history.newest is None or at_s > history.newest.at_s


def _recent(readings: tuple[Reading, ...], reading: Reading) -> tuple[Reading, ...]:
    oldest_s = reading.at_s - LONGEST_WINDOW_S
    start = max(0, len(readings) - MOST_READINGS + 1)
    while start + 1 < len(readings) and readings[start + 1].at_s <= oldest_s:
        start += 1
    return (*readings[start:], reading)


def _learned(declared: Declared, learned: Learned, readings: tuple[Reading, ...]) -> Learned:
    last = readings[-1]
    for took_s in last.starts_s:
        learned = with_start(learned, took_s)
    look = _look(readings)
    return learned if look is None else with_rate(learned, declared, look)


def _look(readings: tuple[Reading, ...]) -> Look | None:
    """The mean of some seconds, and more if that is needed to have enough answers, in which the
    same replicas worked; None: there are not enough."""
    last = readings[-1]
    answers = rates = in_flight = drain_s = 0.0
    count = 0
    window_s = max(RATE_WINDOW_S, RATE_LOOKS * interval_s(readings))
    for index in range(len(readings) - 1, 0, -1):
        reading = readings[index]
        is_enough = count >= RATE_LOOKS - 1 and answers >= ANSWERS
        if is_enough and last.at_s - reading.at_s >= window_s:
            break
        if reading.ready != last.ready or reading.unknown or reading.starts_s:
            break
        if reading.answered_rps is None:
            break
        answers += reading.answered_rps * (reading.at_s - readings[index - 1].at_s)
        rates += reading.answered_rps
        in_flight += reading.in_flight
        drain_s += reading.drain_s
        count += 1
    if count < FEWEST_LOOKS or answers < FEWEST_ANSWERS or not last.ready:
        return None
    looks = count * last.ready
    return Look(rates / looks, in_flight / looks, drain_s / count, in_flight)


def _idle_since_s(history: History, reading: Reading) -> float | None:
    if reading.is_active or reading.unknown or (reading.ready and reading.arrived_rps is None):
        return None
    return reading.at_s if history.idle_since_s is None else history.idle_since_s
