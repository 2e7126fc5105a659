"""How many replicas the load of the last minute needs, as a fraction; pure arithmetic.

With the rate of one replica known, the need is that of the worst of many windows that end now: in
``w`` seconds ``n`` requests came, and ``w`` plus the seconds that a request may wait are there to
answer them in (the traffic envelope of InferLine's tuner, https://arxiv.org/abs/1812.01776). A
sudden step shows in the shortest window, a slow rise in the long ones, and noise that the queue
absorbs in none. To that comes what the load will have grown by when a replica started now is ready,
if it grows beyond doubt, and what has piled up. Without it, only what is in flight can be compared
with its target, as Knative does.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from runtime.autoscale.declared import Declared
from runtime.autoscale.learned import Learned
from runtime.autoscale.reading import Reading

LONGEST_WINDOW_S = 64.0
LONGEST_GAP_S = 30.0
"""A reading that is further than this from the one before says nothing of the time between."""
SURE_OF_TREND = 2.0
"""A slope counts that is this many times its own standard error."""
FEWEST_FOR_TREND = 5
GUESSED = 2.0
CLEARED_S = 10.0
"""What has piled up may take so long to be cleared away: replicas for it alone would idle after."""
MOST_GROWTH = 1.0
"""Foreseen growth is at most this part of the rate now."""


@dataclass(frozen=True, slots=True)
class Demand:
    """Replicas, as fractions: in all, and for the short window that tells a panic."""

    replicas: float
    short: float
    rate_rps: float | None
    grows: bool = False


def demand(declared: Declared, learned: Learned, readings: Sequence[Reading]) -> Demand:
    """``readings``: at least one, oldest first, none of them blind."""
    last = readings[-1]
    if not last.ready:
        return _of_held(learned, readings)
    rate = learned.rate_rps
    if rate is None or last.arrived_rps is None:
        return _of_in_flight(declared, readings)
    return _of_rate(declared, learned, readings, rate)


def _of_held(learned: Learned, readings: Sequence[Reading]) -> Demand:
    """None is ready: what is held needs one, and as many as it grows by, if that is known."""
    last = readings[-1]
    if not last.held:
        return Demand(0.0, 0.0, last.arrived_rps)
    grown = span_s = 0.0
    for index in range(len(readings) - 1, 0, -1):
        before = readings[index - 1]
        if readings[index].ready or before.ready:
            break
        if not readings[index].held:
            break
        grown += max(0, readings[index].held - before.held)
        span_s += readings[index].at_s - before.at_s
    if not span_s or learned.rate_rps is None:
        return Demand(1.0, 0.0, None)
    arrived_rps = grown / span_s
    wanted_rps = arrived_rps + last.held / max(CLEARED_S, learned.start_s)
    return Demand(max(1.0, wanted_rps / learned.rate_rps), 0.0, arrived_rps)


def _of_in_flight(declared: Declared, readings: Sequence[Reading]) -> Demand:
    """A queue says that more are needed, not how many; so no more than twice as many, until what
    they answer has shown what one of them can do: some seconds."""
    last = readings[-1]
    most = GUESSED * last.ready + 1.0
    now = last.in_flight / declared.target_in_flight
    lately = _mean_in_flight(readings, declared.panic_window_s) / declared.target_in_flight
    return Demand(min(most, lately), min(most, now), last.arrived_rps)


def _of_rate(
    declared: Declared, learned: Learned, readings: Sequence[Reading], rate: float
) -> Demand:
    last = readings[-1]
    worst, short, now_rps = _envelope(declared, readings)
    lead_s = learned.start_s + interval_s(readings)
    grown = _growth(readings, lead_s)
    piled = max(0.0, last.in_flight - declared.target_in_flight * last.ready) + last.held
    free = 1.0 + declared.headroom
    foreseen = now_rps + grown if grown else 0.0
    busy = max(worst, foreseen) * free + piled / max(lead_s, CLEARED_S, declared.target_queue_s)
    replicas = busy / rate
    return Demand(replicas, short / rate, now_rps, grows=grown > 0)


def _envelope(declared: Declared, readings: Sequence[Reading]) -> tuple[float, float, float]:
    """Requests a second that must be done: by the worst window, by the panic window, and what came
    lately."""
    slack_s = declared.target_queue_s
    arrived = width_s = worst = short = now_rps = 0.0
    next_s = 0.0
    for index in range(len(readings) - 1, 0, -1):
        reading = readings[index]
        span_s = reading.at_s - readings[index - 1].at_s
        if reading.arrived_rps is None or span_s > LONGEST_GAP_S:
            break
        arrived += reading.arrived_rps * span_s
        width_s += span_s
        if width_s >= next_s:
            worst = max(worst, arrived / (width_s + slack_s))
            next_s = 2.0 * width_s if next_s else width_s * 1.5
        if width_s <= declared.panic_window_s or not short:
            short = arrived / width_s
            now_rps = short
        if width_s >= LONGEST_WINDOW_S:
            break
    if not width_s and readings[-1].arrived_rps is not None:
        worst = short = now_rps = readings[-1].arrived_rps
    return worst, short, now_rps


def _growth(readings: Sequence[Reading], lead_s: float) -> float:
    """Requests a second that will have been added in ``lead_s``. It must have grown in both halves
    of the last while: a line through a step would rise for ever."""
    half_s = min(LONGEST_WINDOW_S / 2.0, max(10.0, lead_s))
    now_s = readings[-1].at_s
    late, level = _slope(readings, now_s - half_s, now_s)
    if late <= 0.0:
        return 0.0
    early, _ = _slope(readings, now_s - 2.0 * half_s, now_s - half_s)
    return min(min(early, late) * lead_s, MOST_GROWTH * level)


def _slope(readings: Sequence[Reading], from_s: float, to_s: float) -> tuple[float, float]:
    """By how many requests a second the load grew in each second, on the line through those of this
    time, and the load where the line ends; (0, 0) where it may as well be noise."""
    count = 0
    sum_x = sum_y = sum_xx = sum_xy = sum_yy = 0.0
    for index in range(len(readings) - 1, -1, -1):
        reading = readings[index]
        x, y = reading.at_s - to_s, reading.arrived_rps
        if x > 0.0:
            continue
        if y is None or reading.at_s < from_s:
            break
        count += 1
        sum_x, sum_y = sum_x + x, sum_y + y
        sum_xx, sum_xy, sum_yy = sum_xx + x * x, sum_xy + x * y, sum_yy + y * y
    if count < FEWEST_FOR_TREND:
        return 0.0, 0.0
    mean_x, mean_y = sum_x / count, sum_y / count
    spread = sum_xx - count * mean_x * mean_x
    if spread <= 0.0:
        return 0.0, 0.0
    slope = (sum_xy - count * mean_x * mean_y) / spread
    rest = max(0.0, sum_yy - count * mean_y * mean_y - slope * slope * spread) / (count - 2)
    if slope <= SURE_OF_TREND * math.sqrt(rest / spread):
        return 0.0, 0.0
    return slope, mean_y - slope * mean_x


def _mean_in_flight(readings: Sequence[Reading], window_s: float) -> float:
    newest_s = readings[-1].at_s
    found = [r.in_flight for r in readings if r.at_s >= newest_s - window_s]
    return sum(found) / len(found)


def interval_s(readings: Sequence[Reading]) -> float:
    """Seconds from one reading to the next, lately."""
    if len(readings) < 2:
        return 1.0
    return min(LONGEST_GAP_S, readings[-1].at_s - readings[-2].at_s)
