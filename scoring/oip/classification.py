"""The classification extension: an output as its largest values, "value:index[:label]"."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from scoring.errors import InputError
from scoring.oip.expected import Array


def classify(name: str, array: Array, count: int, labels: Sequence[str] = ()) -> Array:
    """The ``count`` largest of ``array`` (fewer where there are fewer), largest first, as text of
    [rows, count], or [count] when ``array`` has one dimension. Equal ones in order of their index.

    Raises InputError for text, which has no order here."""
    if array.dtype.kind not in "biuf" or array.ndim == 0:
        raise InputError(f"output '{name}' cannot be classified: it is no list of numbers")
    row_count = 1 if array.ndim == 1 else len(array)
    rows = array.reshape(row_count, array.size // row_count if row_count else 0)
    count = min(count, rows.shape[1])
    written = [[_written(row, int(i), labels) for i in _largest(row, count)] for row in rows]
    shape = (count,) if array.ndim == 1 else (len(rows), count)
    return np.array(written, dtype=object).reshape(shape)


def _largest(row: Array, count: int) -> Array:
    """Indices of the largest, largest first; NaN is smaller than all."""
    if row.dtype.kind == "f":
        row = np.where(np.isnan(row), -np.inf, row)
    # A stable sort of the reversed row, read backwards, keeps equal values in order of index.
    order: Array = len(row) - 1 - np.argsort(row[::-1], kind="stable")[::-1]
    return order[:count]


def _written(row: Array, index: int, labels: Sequence[str]) -> str:
    value = row[index]
    number = f"{value:f}" if row.dtype.kind == "f" else str(int(value))
    label = f":{labels[index]}" if index < len(labels) else ""
    return f"{number}:{index}{label}"
