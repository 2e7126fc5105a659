"""The kinds of input whose first dimension is rows: numpy arrays, data frames and plain lists.

What is grouped together is narrow on purpose: only values that a row-wise run() cannot tell apart
from its sample by anything but their numbers and texts. All else has no key and goes alone.
"""

from __future__ import annotations

import copy
import math
import sys
from collections.abc import Hashable, Iterator, Sequence
from typing import Any, Protocol

_TYPES = "inference_schema.parameter_types."


class Rows(Protocol):
    """One kind of input, for one sample."""

    sample: Any

    def key(self, value: Any) -> Hashable | None:
        """Values with the same key can be joined; None: it must go alone."""

    def join(self, values: Sequence[Any]) -> Any:
        """All rows in order, in memory of its own."""

    def part(self, start: int, end: int | None) -> Any:
        """Some rows of the sample."""

    def variants(self) -> Iterator[Any]:
        """Other values than the sample's first row, of the same kind, one row each: first near it,
        then farther away."""


def rows_of(parameter_type: Any) -> Rows | str:
    """The kind of an AbstractParameterType, or why it is none of these."""
    numpy_type = _class("numpy_parameter_type", "NumpyParameterType")
    if numpy_type is not None and isinstance(parameter_type, numpy_type):
        return _numpy_rows(parameter_type)
    pandas_type = _class("pandas_parameter_type", "PandasParameterType")
    if pandas_type is not None and isinstance(parameter_type, pandas_type):
        sample = parameter_type.sample_input
        return PandasRows(sample.reset_index(drop=True)) if len(sample) else "its sample is empty"
    sample = parameter_type.sample_input
    if type(sample) is list:
        if getattr(parameter_type, "sample_data_type_list", None):
            return "its sample is a list of other parameter types"
        return ListRows(sample) if sample else "its sample is empty"
    return "its parameter is no numpy array, data frame or list"


def _class(module: str, name: str) -> Any:
    return getattr(sys.modules.get(_TYPES + module), name, None)


def _numpy_rows(parameter_type: Any) -> Rows | str:
    sample = parameter_type.sample_input
    if sample.ndim == 0 or len(sample) == 0:
        return "its sample is empty"
    if sample.dtype.kind not in "biufU":
        return f"its sample has the dtype {sample.dtype}"
    return NumpyRows(sample, any_number=not parameter_type.enforce_column_type)


class NumpyRows:
    """Arrays [n, ...] with the trailing shape of the sample; its dtype too, or with ``any_number``
    any dtype of numbers, but one per group."""

    def __init__(self, sample: Any, *, any_number: bool) -> None:
        import numpy

        self._np = numpy
        self._any_number = any_number
        self.sample = sample

    def key(self, value: Any) -> Hashable | None:
        if type(value) is not self._np.ndarray or value.ndim != self.sample.ndim:
            return None
        if len(value) == 0 or value.shape[1:] != self.sample.shape[1:]:
            return None
        if value.dtype != self.sample.dtype and not (
            self._any_number and value.dtype.kind in "biuf"
        ):
            return None
        if value.dtype.kind == "f" and self._np.isnan(value).any():
            return None  # a script may fill gaps from the other rows
        return str(value.dtype)

    def join(self, values: Sequence[Any]) -> Any:
        return self._np.concatenate(values)

    def part(self, start: int, end: int | None) -> Any:
        return self.sample[start:end].copy()

    def variants(self) -> Iterator[Any]:
        row = self.sample[:1]
        if row.dtype.kind == "f":
            wave = self._np.cos(self._np.arange(1, row.size + 1)).reshape(row.shape)
            scale = float(self._np.abs(row).max()) or 1.0
            for changed in (
                row + wave * (0.1 * abs(row) + 0.01),
                self._np.roll(row, 1, axis=-1) + wave * scale,
                row * 5 + scale,
                wave * -10 * scale,
                row * -3 - scale,
            ):
                yield changed.astype(row.dtype)
        elif row.dtype.kind == "b":
            yield ~row
        elif row.dtype.kind in "iu":
            yield self._np.where(row > 0, row - 1, row + 1).astype(row.dtype)
            yield self._np.roll(row, 1, axis=-1)
            yield self._np.zeros_like(row)


class PandasRows:
    """Data frames of one set of columns and dtypes, with no gaps and rows numbered from 0."""

    def __init__(self, sample: Any) -> None:
        import pandas

        self._pd = pandas
        self.sample = sample

    def key(self, value: Any) -> Hashable | None:
        if type(value) is not self._pd.DataFrame or len(value) == 0:
            return None
        if not value.index.equals(self._pd.RangeIndex(len(value))):
            return None  # numbering all rows anew would show
        if value.isna().to_numpy().any():
            return None  # a script may fill gaps from the other rows
        cells = tuple(
            frozenset(map(type, value.iloc[:, at])) if dtype.kind == "O" else None
            for at, dtype in enumerate(value.dtypes)
        )
        return (tuple(value.columns), tuple(value.dtypes), cells)

    def join(self, values: Sequence[Any]) -> Any:
        return self._pd.concat(values, ignore_index=True)

    def part(self, start: int, end: int | None) -> Any:
        return self.sample.iloc[start:end].reset_index(drop=True)

    def variants(self) -> Iterator[Any]:
        for step in (0.125, 3.0, 100.0, -100.0):
            row = self.part(0, 1)
            for name, dtype in row.dtypes.items():
                if dtype.kind in "iuf":
                    change = step if dtype.kind == "f" else math.ceil(step)
                    row[name] = (row[name] + change).astype(dtype)
            yield row


class ListRows:
    """Plain JSON lists whose rows all look like one of the sample's: the same nesting, lengths,
    names and kinds. Whole numbers and fractions may stand for each other, but are not mixed."""

    def __init__(self, sample: list[Any]) -> None:
        self.sample = sample
        self._known = {_look(row, loose=True) for row in sample}

    def key(self, value: Any) -> Hashable | None:
        if type(value) is not list or not value:
            return None
        look = _look(value[0], loose=False)
        if any(_look(row, loose=False) != look for row in value[1:]):
            return None
        if _look(value[0], loose=True) not in self._known or _has_gaps(value):
            return None
        return look

    def join(self, values: Sequence[Any]) -> Any:
        return [row for value in values for row in value]

    def part(self, start: int, end: int | None) -> Any:
        return copy.deepcopy(self.sample[start:end])

    def variants(self) -> Iterator[Any]:
        for step in (0.125, 3.0, 100.0, -100.0):
            yield [_changed(self.sample[0], step)]


def _look(value: Any, *, loose: bool) -> Hashable:
    """What a JSON value looks like but for its numbers and texts."""
    kind = type(value)
    if kind is list:
        kinds = set(map(type, value))
        if loose:
            kinds = {int if kind is float else kind for kind in kinds}
        if len(kinds) == 1 and not kinds & {list, dict}:
            return (len(value), kinds.pop().__name__)
        return tuple(_look(part, loose=loose) for part in value)
    if kind is dict:
        return tuple((name, _look(part, loose=loose)) for name, part in value.items())
    return "int" if kind is float and loose else kind.__name__


def _has_gaps(value: Any) -> bool:
    """Whether there is a null, a NaN, or a whole number that numpy has no plain integer for."""
    if isinstance(value, list):
        if set(map(type, value)) == {float}:
            return math.isnan(sum(value))
        return any(map(_has_gaps, value))
    if isinstance(value, dict):
        return any(map(_has_gaps, value.values()))
    if type(value) is int:
        return not -(2**63) <= value < 2**63
    return value is None or value != value


def _changed(value: Any, step: float) -> Any:
    if isinstance(value, list):
        return [_changed(part, step * (1 + at % 3)) for at, part in enumerate(value)]
    if isinstance(value, dict):
        return {name: _changed(part, step) for name, part in value.items()}
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return value + math.ceil(step)
    return value + step if isinstance(value, float) else value
