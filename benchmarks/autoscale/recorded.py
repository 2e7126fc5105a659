"""Recorded load: a CSV file of requests per second, one line each: ``second,requests`` or only
``requests``; a first line that is no number is a heading. Seconds that are missing had none."""

from __future__ import annotations

import csv
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from benchmarks.autoscale.load import Load

LONGEST_S = 31 * 86_400
MOST_RPS = 10_000_000


class BadRecordError(Exception):
    """The file is no record of load; says which line."""


def recorded(path: Path) -> Load:
    """Raises BadRecordError, and OSError where there is no such file."""
    with path.open(encoding="utf-8", errors="replace", newline="") as lines:
        return parse(lines, path.stem)


def parse(lines: Iterable[str], name: str) -> Load:
    """Raises BadRecordError."""
    found: dict[int, int] = {}
    next_second = 0
    first: int | None = None
    try:
        for number, row in enumerate(csv.reader(lines), start=1):
            values = _values(row, number)
            if values is None:
                continue
            second = values[0] if len(values) == 2 else next_second
            first = second if first is None else first
            if not 0 <= second - first < LONGEST_S:
                raise BadRecordError(f"line {number}: seconds go on from the first, for 31 days")
            found[second - first] = found.get(second - first, 0) + values[-1]
            next_second = second + 1
    except csv.Error as error:
        raise BadRecordError(f"not CSV: {error}") from error
    if not found:
        raise BadRecordError("no line has a number of requests")
    arrivals = np.zeros(max(found) + 1, dtype=np.int64)
    arrivals[list(found)] = list(found.values())
    return Load(name, arrivals)


def _values(row: list[str], number: int) -> list[int] | None:
    """None for an empty line and for a heading."""
    if not any(cell.strip() for cell in row):
        return None
    try:
        values = [float(cell) for cell in row]
    except ValueError as error:
        if number == 1:
            return None
        raise BadRecordError(f"line {number} is no number: {ascii(row[0])[:40]}") from error
    if len(values) > 2 or not 0 <= values[-1] <= MOST_RPS or not abs(values[0]) < 1e15:
        raise BadRecordError(f"line {number} is not 'second,requests'")
    return [int(value) for value in values]
