"""Arrays from the values of small JSON requests: one plan for each input, made once.

    plan = plan_for(spec)
    array = plan([[0.5, 1.0]], booleans=False)     # None: ask scoring/json_codec/exact.py

`struct` refuses by itself what is no number, is too large, or comes in the wrong count; it takes
true for 1, so a plan is told whether there may be booleans. "=" makes it look for floats that are
too large, which it does not natively. The arrays cannot be written to.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from itertools import chain
from struct import Struct
from struct import error as StructError
from typing import Any

import numpy as np

from scoring.json_codec.exact import Array, dtype_of
from scoring.signature import Dim, TensorSpec

Plan = Callable[[Any, bool], Array | None]
MISFITS = (StructError, OverflowError, TypeError, LookupError)
"""What a plan may raise instead of returning None."""
_CODES = {
    "float16": "e",
    "float32": "f",
    "float64": "d",
    "int8": "b",
    "int16": "h",
    "int32": "i",
    "int64": "q",
    "uint8": "B",
    "uint16": "H",
    "uint32": "I",
    "uint64": "Q",
}
_struct = lru_cache(maxsize=256)(Struct)


def plan_for(spec: TensorSpec) -> Plan | None:
    """How to read values for ``spec``; None for what only the exact path reads."""
    if spec.is_sequence or spec.shape is None:
        return None
    if spec.dtype in ("bool", "string"):
        return _objects_plan(spec.shape, bool if spec.dtype == "bool" else str)
    code = _CODES.get(spec.dtype)
    if code is None:
        return None
    if not spec.shape:
        return _scalar_plan(dtype_of(spec.dtype), code)
    if len(spec.shape) == 2 and isinstance(spec.shape[1], int) and spec.shape[1] > 0:
        return _rows_plan(spec.shape[0], spec.shape[1], dtype_of(spec.dtype), code)
    return _lists_plan(spec.shape, dtype_of(spec.dtype), code)


def _scalar_plan(dtype: np.dtype[Any], code: str) -> Plan:
    pack = Struct(f"={code}").pack

    def read(value: Any, booleans: bool) -> Array | None:
        return None if booleans else np.ndarray((), dtype, pack(value))

    return read


def _rows_plan(rows: Dim, width: int, dtype: np.dtype[Any], code: str) -> Plan:
    pack = Struct(f"={width}{code}").pack
    array = np.ndarray
    fixed = rows if isinstance(rows, int) else None
    slow = _lists_plan((rows, width), dtype, code)

    def read(value: Any, booleans: bool) -> Array | None:
        if booleans:
            return slow(value, booleans)
        if type(value) is not list or not value:
            return None
        count = len(value)
        if fixed is not None and count != fixed:
            return None
        data = pack(*value[0]) if count == 1 else b"".join([pack(*row) for row in value])
        return array((count, width), dtype, data)

    return read


def _lists_plan(shape: tuple[Dim, ...], dtype: np.dtype[Any], code: str) -> Plan:
    def read(value: Any, booleans: bool) -> Array | None:
        flat, sizes = _flat(value, shape)
        if not flat or (booleans and bool in map(type, flat)):
            return None
        return np.ndarray(sizes, dtype, _struct(f"={len(flat)}{code}").pack(*flat))

    return read


def _objects_plan(shape: tuple[Dim, ...], kind: type) -> Plan:
    dtype = np.dtype(bool if kind is bool else object)

    def read(value: Any, booleans: bool) -> Array | None:
        flat, sizes = _flat(value, shape) if shape else ([value], ())
        if set(map(type, flat)) != {kind}:
            return None
        array = np.empty(len(flat), dtype)
        array[:] = flat
        return array.reshape(sizes)

    return read


def _flat(value: Any, shape: tuple[Dim, ...]) -> tuple[list[Any], tuple[int, ...]]:
    """The values of even lists that fit ``shape``, and their sizes; nothing when they do not."""
    sizes: list[int] = []
    level: list[Any] = [value]
    for expected in shape:
        first = level[0]
        size = len(first) if type(first) is list else 0
        if size == 0 or (isinstance(expected, int) and size != expected):
            return [], ()
        if len(level) == 1:
            level = first
        elif set(map(type, level)) == {list} and set(map(len, level)) == {size}:
            level = list(chain.from_iterable(level))
        else:
            return [], ()
        sizes.append(size)
    return level, tuple(sizes)
