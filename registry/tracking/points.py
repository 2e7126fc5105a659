"""What a batch of metric points writes: pure.

Every point is a row, and gets the next number of its series. Beside the rows a series has its
present state (one row), and blocks of BLOCK neighbours with their extremes, so that a chart of a
million points reads sixteen thousand rows.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from registry.errors import InvalidNameError
from registry.tracking.records import Point
from registry.tracking.words import check_integer, check_key

BLOCK = 64
PointRow = tuple[int, int, float | None, int, int]
"""metric, seq, value (None for NaN), step, at_ms."""
BlockRow = tuple[int, int, int, int, int, float | None, float | None, float | None]
"""metric, block, count, step, at_ms, last, min, max; of the points of this batch only."""


@dataclass(slots=True)
class Series:
    """A series' state; ``value``, ``min`` and ``max`` are NaN where there is nothing else."""

    metric: int
    count: int = 0
    value: float = math.nan
    step: int = 0
    at_ms: int = 0
    min: float = math.nan
    max: float = math.nan

    def add(self, value: float, step: int, at_ms: int) -> None:
        """One more value."""
        is_first = self.count == 0
        if is_first or step > self.step or (step == self.step and at_ms >= self.at_ms):
            self.value, self.step, self.at_ms = value, step, at_ms
        self.count += 1
        if value == value:
            if not value >= self.min:
                self.min = value
            if not value <= self.max:
                self.max = value


@dataclass(slots=True)
class _Block:
    """The points of a batch that are neighbours; ``step`` and ``at_ms`` are the first one's."""

    step: int
    at_ms: int
    count: int = 0
    last: float = math.nan
    min: float = math.nan
    max: float = math.nan

    def add(self, value: float) -> None:
        self.count += 1
        self.last = value
        if value == value:
            if not value >= self.min:
                self.min = value
            if not value <= self.max:
                self.max = value

    def row(self, metric: int, number: int) -> BlockRow:
        ends = (stored_of(self.last), stored_of(self.min), stored_of(self.max))
        return (metric, number, self.count, self.step, self.at_ms, *ends)


@dataclass(frozen=True, slots=True)
class Written:
    """What goes to the database: ``series`` are the new states of those that changed."""

    points: list[PointRow] = field(default_factory=list)
    blocks: list[BlockRow] = field(default_factory=list)
    series: dict[str, Series] = field(default_factory=dict)


def check_points(points: Iterable[Point]) -> None:
    """Raises InvalidNameError for a key, value, step or time that cannot be kept."""
    known: set[str] = set()
    for key, value, step, at_ms in points:
        if key not in known:
            known.add(check_key(key, "metric"))
        if type(value) is not float:
            raise InvalidNameError(f"metric '{key}' must be a float, not {type(value).__name__}")
        if step is not None:
            check_integer(step, f"the step of metric '{key}'")
        check_integer(at_ms, f"the time of metric '{key}'")


def keys_of(points: Iterable[Point]) -> list[str]:
    """In order of their first point."""
    return list(dict.fromkeys(point[0] for point in points))


def plan(points: Iterable[Point], before: Mapping[str, Series], next_metric: int) -> Written:
    """The rows of ``points``, which are valid; ``before`` are the states of the series that there
    are, ``next_metric`` the number of the next new one."""
    written = Written()
    blocks: dict[tuple[int, int], _Block] = {}
    for key, value, given_step, at_ms in points:
        series = written.series.get(key)
        if series is None:
            series = replace(before[key]) if key in before else Series(next_metric)
            next_metric += key not in before
            written.series[key] = series
        seq = series.count
        step = seq if given_step is None else given_step
        written.points.append((series.metric, seq, stored_of(value), step, at_ms))
        series.add(value, step, at_ms)
        place = (series.metric, seq // BLOCK)
        block = blocks.get(place)
        if block is None:
            block = blocks[place] = _Block(step, at_ms)
        block.add(value)
    written.blocks.extend(block.row(*place) for place, block in blocks.items())
    return written


def stored_of(value: float) -> float | None:
    """A float as SQLite keeps it, which has no NaN."""
    return None if value != value else value


def value_of(stored: float | None) -> float:
    """The float that was stored."""
    return math.nan if stored is None else stored
