"""How much a shadow's answer differs from the primary's. Pure.

compare({"scores": array}, {"scores": other})        # outputs by name: arrays, sequences, maps
compare_bodies(b'{"result": [1.5]}', other_body)     # what scripts answered

Floats are compared by value whatever their width, all else exactly. NaN equals NaN.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray


class Verdict(StrEnum):
    """EQUAL: the same values. CLOSE: within the tolerances. ERROR: one of them is no answer."""

    EQUAL = "equal"
    CLOSE = "close"
    DIFFERENT = "different"
    ERROR = "error"


@dataclass(frozen=True, slots=True)
class Tolerances:
    """Floats a and b are close when |a - b| <= absolute + relative * max(|a|, |b|)."""

    absolute: float = 1e-6
    relative: float = 1e-3


@dataclass(frozen=True, slots=True)
class Comparison:
    """``text`` is about the first difference, or why there is none to find. The differences are of
    numbers at the same place (infinite where just one is NaN); the relative one is
    |a - b| / max(|a|, |b|), so at most 2. ``rows`` have several floats, and the largest of them is
    another one in ``disagreeing_rows``."""

    verdict: Verdict
    text: str = ""
    max_absolute: float = 0.0
    max_relative: float = 0.0
    rows: int = 0
    disagreeing_rows: int = 0


DEFAULT = Tolerances()


def compare(
    primary: Mapping[str, Any], shadow: Mapping[str, Any], tolerances: Tolerances = DEFAULT
) -> Comparison:
    """Two models' outputs by name."""
    tally = _Tally(tolerances)
    try:
        tally.add("", dict(primary), dict(shadow))
    except RecursionError:
        return no_comparison("the outputs are nested too deeply")
    return tally.result()


def compare_bodies(primary: bytes, shadow: bytes, tolerances: Tolerances = DEFAULT) -> Comparison:
    """Two scripts' answers: as JSON (also as text that holds JSON, which scripts like to return),
    or byte by byte where one of them is no JSON."""
    if primary == shadow:
        return Comparison(Verdict.EQUAL)
    try:
        documents = _parse(primary), _parse(shadow)
    except (ValueError, RecursionError):
        return Comparison(Verdict.DIFFERENT, "not both are JSON, and the bytes differ")
    if all(isinstance(document, str) for document in documents):
        with suppress(ValueError, RecursionError):
            documents = _parse(documents[0]), _parse(documents[1])
    return compare({"$": documents[0]}, {"$": documents[1]}, tolerances)


def no_comparison(text: str) -> Comparison:
    """One of the two failed, with ``text``."""
    return Comparison(Verdict.ERROR, text)


def _parse(text: bytes | str) -> Any:
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:  # perhaps a NaN, which scripts do return
        return json.loads(text)


class _Tally:
    """What has been found so far."""

    def __init__(self, tolerances: Tolerances) -> None:
        self._tolerances = tolerances
        self._verdict = Verdict.EQUAL
        self._text = ""
        self._absolute = 0.0
        self._relative = 0.0
        self._rows = 0
        self._disagreeing = 0

    def result(self) -> Comparison:
        return Comparison(
            self._verdict,
            self._text,
            self._absolute,
            self._relative,
            self._rows,
            self._disagreeing,
        )

    def add(self, path: str, a: Any, b: Any) -> None:
        """Compare two values at ``path``, whatever they are."""
        if isinstance(a, dict) and isinstance(b, dict):
            self._add_maps(path, a, b)
            return
        first, second = _array(a), _array(b)
        if first is not None and second is not None:
            self._add_arrays(path, first, second)
        elif isinstance(a, list) and isinstance(b, list):
            if len(a) != len(b):
                self._differ(f"{path}: {len(b)} items, not {len(a)}")
            for index, (one, other) in enumerate(zip(a, b, strict=False)):
                self.add(f"{path}[{index}]", one, other)
        elif type(a) is not type(b) or a != b:
            self._differ(f"{path}: another value")

    def _add_maps(self, path: str, a: dict[Any, Any], b: dict[Any, Any]) -> None:
        if a.keys() != b.keys():
            names = ", ".join(sorted(str(name) for name in a.keys() ^ b.keys()))
            self._differ(f"{path or 'outputs'}: only one has {names}")
        for name in a:
            if name in b:
                self.add(f"{path}.{name}" if path else str(name), a[name], b[name])

    def _add_arrays(self, path: str, a: NDArray[Any], b: NDArray[Any]) -> None:
        if a.shape != b.shape:
            self._differ(f"{path}: shape {list(b.shape)}, not {list(a.shape)}")
        elif a.dtype.kind == "O" or b.dtype.kind == "O":
            if not np.array_equal(a, b):
                self._differ(f"{path}: other values")
        elif a.size:
            self._add_numbers(path, a, b)

    def _add_numbers(self, path: str, a: NDArray[Any], b: NDArray[Any]) -> None:
        is_float = a.dtype.kind != "i" or b.dtype.kind != "i"
        if is_float and a.ndim > 1 and a.shape[-1] > 1:
            disagree = a.argmax(axis=-1) != b.argmax(axis=-1)
            self._rows += disagree.size
            self._disagreeing += int(np.count_nonzero(disagree))
        same = (a == b) | ((a != a) & (b != b))
        if same.all():
            return
        a, b = a[~same], b[~same]
        with np.errstate(invalid="ignore", over="ignore"):
            absolute = np.abs(a.astype(float) - b.astype(float))
            absolute[np.isnan(absolute)] = np.inf
            largest = np.maximum(np.abs(a.astype(float)), np.abs(b.astype(float)))
            bounded = np.isfinite(absolute) & (largest > 0)
            relative = np.full_like(absolute, 2.0)
            np.divide(absolute, largest, out=relative, where=bounded)
        self._absolute = max(self._absolute, float(absolute.max()))
        self._relative = max(self._relative, float(relative.max()))
        bound = self._tolerances.absolute + self._tolerances.relative * largest
        if is_float and bool((np.isfinite(absolute) & (absolute <= bound)).all()):
            self._note(Verdict.CLOSE, f"{path}: close")
        else:
            self._differ(f"{path}: other numbers, by {absolute.max():.3g} at most")

    def _differ(self, text: str) -> None:
        self._note(Verdict.DIFFERENT, text)

    def _note(self, verdict: Verdict, text: str) -> None:
        if self._verdict == Verdict.EQUAL or (
            verdict == Verdict.DIFFERENT and self._verdict == Verdict.CLOSE
        ):
            self._verdict, self._text = verdict, text


def _array(value: Any) -> NDArray[Any] | None:
    """Numbers as floats or integers, other arrays as objects; None for what is no array."""
    if isinstance(value, np.ndarray | np.generic):
        return _widened(np.asarray(value))
    if isinstance(value, float | int) and not isinstance(value, bool):
        return _widened(np.asarray(value))
    if not isinstance(value, list) or not _is_numeric(value):
        return None
    try:
        array = np.asarray(value)
    except (ValueError, OverflowError):  # lists of several lengths
        return None
    return array if array.dtype.kind in "fi" else None


def _is_numeric(value: list[Any]) -> bool:
    """Whether all leaves of the lists are numbers (true is none)."""
    types = set(map(type, value))
    if types == {list}:
        return all(map(_is_numeric, value))
    return types <= {int, float}


def _widened(array: NDArray[Any]) -> NDArray[Any]:
    kind = array.dtype.kind
    if kind == "f" or (kind == "i" and array.dtype.itemsize <= 8):
        return array
    if kind == "u" and array.dtype.itemsize < 8:
        return array.astype(np.int64)
    if kind == "V":  # bfloat16 and the float8 types of ml_dtypes
        return array.astype(np.float32)
    return array.astype(object)
