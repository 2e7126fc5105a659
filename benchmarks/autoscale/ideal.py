"""A lower bound: what no policy on this service can go below, though it knew all load beforehand.

Backward dynamic programming over (replicas, queue) in each second. It assumes

- the simulator's own service: requests come evenly within a second, work is a fluid, what would be
  late is refused at the door; work is counted in tenths of a replica's second (``BINS``), rounded
  so that all of a week is less than one of them off;
- replicas ready exactly when they are needed: a start costs its mean seconds, and needs no decision
  beforehand; an end is free and at once, with its queue left to the others;
- each missed request costs ``price`` replica-seconds. For every price, the cost with the price of
  the misses that are allowed taken off is below that of any schedule which misses so many at most
  (Lagrange), so the highest of several prices is the bound. A price beyond reason gives the bound
  for who misses nothing.

Replica counts are searched between bounds of each ten minutes' load, which hold those of the
optimum: fewer than the least load of any second needs would pile up for good, and more than the
most of any needs would idle.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from benchmarks.autoscale.load import Load
from benchmarks.autoscale.service import Service

BINS = 10
BLOCK_S = 600
NEVER = 1e3
"""Price of a missed request, in replica-seconds, at which none is worth missing."""
PRICES = (2.0, 4.0)
"""Of the bound, in a request's own work. The best of many was always about there."""
Values = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Ideal:
    """Least replica-seconds of who misses nothing, and of who may miss the allowed share."""

    nothing_missed_s: float
    allowed_missed_s: float


def ideal(load: Load, service: Service, *, least: int, most: int, allowed: float) -> Ideal:
    """``allowed``: part of all requests that may be missed."""
    total = float(load.arrivals.sum())
    bounds = [
        _cost(load, service, least=least, most=most, price=price) - price * allowed * total
        for price in _prices(service)
    ]
    nothing = _cost(load, service, least=least, most=most, price=NEVER)
    return Ideal(nothing, max([*bounds, 0.0]))


def _prices(service: Service) -> Sequence[float]:
    """In replica-seconds: one that is missed for less than its own work is always missed."""
    return [price / service.rate_rps for price in PRICES]


def _cost(load: Load, service: Service, *, least: int, most: int, price: float) -> float:
    """Replica-seconds plus the price of what is missed, of the best schedule."""
    work = np.floor(np.cumsum(load.arrivals) * (BINS / service.rate_rps)).astype(np.int64)
    bins = np.diff(work, prepend=0)
    queue_bins = int(most * service.queue_s * BINS + 1e-6)
    value: Values | None = None
    band = (0, 0)
    bin_price = price * service.rate_rps / BINS
    for start, end, low, high in _blocks(bins, least, most):
        value = _carried(value, band, (low, high), queue_bins)
        band = (low, high)
        value = _block(value, bins[start:end], low, high, service, bin_price, service.mean_start_s)
    assert value is not None
    return float(value[:, 0].min())


def _blocks(bins: NDArray[np.int64], least: int, most: int) -> Iterator[tuple[int, int, int, int]]:
    """(first second, end, fewest replicas, most), from the last to the first."""
    for start in range((len(bins) - 1) // BLOCK_S * BLOCK_S, -1, -BLOCK_S):
        part = bins[max(0, start - 60) : start + BLOCK_S + 60]
        low = max(least, min(most, int(part.min()) // BINS))
        high = max(low, min(most, math.ceil(int(part.max()) / BINS)))
        yield start, min(start + BLOCK_S, len(bins)), low, high


def _carried(
    value: Values | None, old: tuple[int, int], new: tuple[int, int], queue_bins: int
) -> Values:
    """The values of another band: beyond the old one's ends, those of its ends are a bound."""
    low, high = new
    if value is None:
        return np.zeros((high - low + 1, queue_bins + 1))
    rows = np.clip(np.arange(low, high + 1), old[0], old[1]) - old[0]
    return value[rows]


def _block(
    value: Values,
    bins: NDArray[np.int64],
    low: int,
    high: int,
    service: Service,
    bin_price: float,
    start_s: float,
) -> Values:
    """Values at the block's beginning, from those at its end."""
    replicas = np.arange(low, high + 1)
    rooms = np.floor(replicas * service.queue_s * BINS + 1e-6).astype(np.int64)
    width = int(rooms[-1]) + 1
    queue = np.arange(width)
    free = queue[None, :] - (replicas * BINS)[:, None]
    limits = rooms[:, None]
    rows = (np.arange(len(replicas)) * width)[:, None]
    paid = replicas.astype(np.float64)[:, None]
    starts = (start_s * replicas)[:, None]
    now = value[:, :width]
    for count in bins[::-1].tolist():
        ahead = free + count
        left = np.clip(ahead, 0, limits)
        after = now.ravel()[left + rows]
        after += np.maximum(ahead - limits, 0) * bin_price
        after += paid
        more = np.minimum.accumulate((after + starts)[::-1], axis=0)[::-1] - starts
        now = np.minimum(np.minimum.accumulate(after, axis=0), more)
    found = np.empty((len(replicas), value.shape[1]))
    found[:, :width] = now
    found[:, width:] = now[:, -1:]
    return found
