"""Generated load: requests in each second, by a seed. Each function gives the rate of each second
relative to a mean of about 1; ``counts`` draws the requests."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import accumulate

import numpy as np
from numpy.typing import NDArray

Rates = NDArray[np.float64]
Counts = NDArray[np.int64]
Rng = np.random.Generator
DAY_S = 86_400
HOUR_S = 3_600


@dataclass(frozen=True, slots=True)
class Load:
    """Requests that come in each second. ``step_at_s``: the second of a step whose recovery is
    timed."""

    name: str
    arrivals: Counts
    step_at_s: int | None = None


def counts(rates: Rates, rng: Rng) -> Counts:
    """Requests in each second: Poisson with these rates."""
    return rng.poisson(np.maximum(rates, 0.0)).astype(np.int64)


def diurnal(seconds: int, rng: Rng, *, depth: float = 0.6, noise: float = 0.03) -> Rates:
    """A day's wave, least at four in the morning, with slow noise of five minutes' memory."""
    time = np.arange(seconds) / DAY_S
    wave = 1.0 - depth * np.cos(2.0 * np.pi * (time - 4.0 / 24.0))
    return wave * (1.0 + wandering(seconds, rng, noise=noise))


def wandering(seconds: int, rng: Rng, *, noise: float, memory_s: float = 300.0) -> Rates:
    """AR(1) noise with this standard deviation."""
    keep = math.exp(-1.0 / memory_s)
    shocks = rng.normal(0.0, noise * math.sqrt(1.0 - keep * keep), seconds)
    walk = accumulate(shocks.tolist(), lambda before, shock: keep * before + shock)
    return np.fromiter(walk, dtype=np.float64, count=seconds)


def spikes(seconds: int, rng: Rng, *, each_s: float = 2.0 * HOUR_S) -> Rates:
    """A flat load with spikes of twice to four times it, 2 to 10 minutes long, risen in half a
    minute."""
    rates = np.ones(seconds)
    at = rng.exponential(each_s)
    while at < seconds:
        hold, height = rng.uniform(120.0, 600.0), rng.uniform(1.0, 3.0)
        rates += height * _trapeze(seconds, at, 30.0, hold, 60.0)
        at += hold + rng.exponential(each_s)
    return rates


def step(seconds: int, rng: Rng, *, factor: float = 10.0, at: float = 0.25) -> Rates:
    """A tenth of the load, then all of it from one second to the next, and back after a while."""
    rates = np.full(seconds, 1.0 / factor)
    start = int(seconds * at)
    rates[start : start + seconds // 2] = 1.0
    return rates


def bursty(
    seconds: int, rng: Rng, *, high: float = 1.6, low_s: float = 240.0, high_s: float = 60.0
) -> Rates:
    """Two states with exponential stays (MMPP)."""
    rates = np.empty(seconds)
    at, is_high = 0.0, False
    while at < seconds:
        stay = rng.exponential(high_s if is_high else low_s)
        rates[int(at) : int(at + stay) + 1] = high if is_high else 0.85
        at, is_high = at + stay, not is_high
    return rates


def on_off(seconds: int, rng: Rng, *, on_s: float = 600.0, off_s: float = 1800.0) -> Rates:
    """Nothing at all, then all at once: a batch job that comes now and then."""
    rates = np.zeros(seconds)
    at, is_on = 0.0, False
    while at < seconds:
        stay = rng.uniform(0.5, 1.5) * (on_s if is_on else off_s)
        if is_on:
            rates[int(at) : int(at + stay)] = 1.0
        at, is_on = at + stay, not is_on
    return rates


def flash_crowd(seconds: int, rng: Rng, *, height: float = 5.0) -> Rates:
    """It doubles each minute up to ``height`` times as much, and is forgotten over half an hour."""
    rates = np.ones(seconds)
    start = seconds // 3
    time = np.arange(seconds - start, dtype=np.float64)
    rises = np.log2(height) * 60.0
    up = np.exp2(np.minimum(time / 60.0, np.log2(height)))
    down = np.exp(-np.maximum(0.0, time - rises - 300.0) / 1800.0)
    rates[start:] = 1.0 + (up - 1.0) * down
    return rates


def week(rng: Rng) -> Rates:
    """Seven days' waves, the last two lower, with an event of each kind."""
    rates = diurnal(7 * DAY_S, rng)
    rates[5 * DAY_S :] *= 0.7
    events: tuple[tuple[float, int, Callable[[int], Rates]], ...] = (
        (0.60, 2 * HOUR_S, lambda n: flash_crowd(n, rng, height=3.0)),
        (1.40, 4 * HOUR_S, lambda n: bursty(n, rng, high=1.4)),
        (2.10, HOUR_S // 2, lambda n: 3.0 * step(n, rng, factor=3.0)),
        (3.35, 4 * HOUR_S, lambda n: spikes(n, rng, each_s=HOUR_S)),
        (4.55, 3 * HOUR_S, lambda n: 1.0 + 0.5 * on_off(n, rng, on_s=300.0, off_s=900.0)),
        (5.15, HOUR_S // 2, lambda n: 10.0 * step(n, rng)),
        (6.50, 2 * HOUR_S, lambda n: flash_crowd(n, rng, height=2.0)),
    )
    for day, seconds, shape in events:
        start = int(day * DAY_S)
        rates[start : start + seconds] *= shape(seconds)
    return rates


def _trapeze(seconds: int, at: float, up_s: float, hold_s: float, down_s: float) -> Rates:
    time = np.arange(seconds) - at
    corners = [0.0, up_s, up_s + hold_s, up_s + hold_s + down_s]
    found: Rates = np.interp(time, corners, [0.0, 1.0, 1.0, 0.0], left=0.0, right=0.0)
    return found
