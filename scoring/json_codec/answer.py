"""A model's outputs as JSON; always valid, never with null for a number.

    encode_response({"label": array([7])})                     # b'{"label":[7]}'
    encode_each({"label": array([7, 1, 3])}, [1, 2])           # one answer for each request

orjson writes arrays by itself, and NaN and infinities as null: where there is no null, there was
no such number.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import lru_cache
from itertools import islice
from typing import Any

import numpy as np
import orjson

from scoring.json_codec.exact import Array

_OPTIONS = orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_NON_STR_KEYS
_ORJSON_FLOATS = frozenset({"float16", "float32", "float64"})
_dumps = orjson.dumps


def encode_response(outputs: Mapping[str, Any]) -> bytes:
    """The answer's JSON."""
    try:
        text = _dumps(outputs, None, _OPTIONS)
    except TypeError:
        return _encode_exactly(outputs)
    return _encode_exactly(outputs) if b"null" in text else text


def encode_each(outputs: Mapping[str, Any], rows: Sequence[int]) -> list[bytes]:
    """An answer for each of the requests that ran as one batch, with ``rows[i]`` rows each.

    Every output has sum(rows) rows along its first axis; lists count as such."""
    columns = [_row_texts(value, rows) for value in outputs.values()]
    if not columns or None in columns:
        return _encode_slices(outputs, rows)
    dims = tuple((name, value.ndim) for name, value in outputs.items())
    template = _template(dims)
    return [template % texts for texts in zip(*columns, strict=True)]


@lru_cache(maxsize=64)
def _template(dims: tuple[tuple[str, int], ...]) -> bytes:
    members = (
        _dumps(name).replace(b"%", b"%%") + b":" + b"[" * ndim + b"%b" + b"]" * ndim
        for name, ndim in dims
    )
    return b"{" + b",".join(members) + b"}"


def _row_texts(value: Any, rows: Sequence[int]) -> list[bytes] | None:
    """What stands between the outermost brackets for each request; None when not plain numbers."""
    if not isinstance(value, np.ndarray) or value.dtype.kind not in "fiub" or value.size == 0:
        return None
    try:
        text = _dumps(value, None, _OPTIONS)
    except TypeError:
        return None
    ndim = value.ndim
    if b"null" in text:
        return None
    between = b"]" * (ndim - 1) + b"," + b"[" * (ndim - 1)
    parts = text[ndim:-ndim].split(between)
    if len(parts) == len(rows) and set(rows) == {1}:
        return parts
    if min(rows) == 0:
        return None
    left = iter(parts)
    return [between.join(islice(left, count)) for count in rows]


def _encode_slices(outputs: Mapping[str, Any], rows: Sequence[int]) -> list[bytes]:
    answers: list[bytes] = []
    start = 0
    for count in rows:
        stop = start + count
        answers.append(encode_response({name: v[start:stop] for name, v in outputs.items()}))
        start = stop
    return answers


def _encode_exactly(outputs: Mapping[str, Any]) -> bytes:
    return _dumps({name: _encodable(value) for name, value in outputs.items()}, None, _OPTIONS)


def _encodable(value: Any) -> Any:
    """``value`` in types that orjson writes, non-finite floats spelled out."""
    if isinstance(value, np.ndarray):
        return _encodable_array(value)
    if isinstance(value, np.generic):
        return _encodable_array(np.asarray(value))
    if isinstance(value, Mapping):
        return {str(key): _encodable(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_encodable(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return _spelled(value)
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    return value


def _encodable_array(array: Array) -> Any:
    if array.dtype.kind in "OSU":
        return _encodable(array.tolist())
    if array.dtype.kind == "c":
        return _encodable_array(np.stack([array.real, array.imag], axis=-1))
    if array.dtype.kind in "biu" and not array.dtype.name.startswith(
        ("int4", "uint4", "int2", "uint2")
    ):
        return array.item() if array.ndim == 0 else np.ascontiguousarray(array)
    with np.errstate(invalid="ignore"):  # a NaN of bfloat16
        wide = array if array.dtype.name in _ORJSON_FLOATS else array.astype(np.float64)
    if "int" in array.dtype.name:
        return array.astype(np.int64).tolist()
    if np.isfinite(wide).all():
        return wide.item() if wide.ndim == 0 else np.ascontiguousarray(wide)
    return _encodable(wide.tolist())


def _spelled(number: float) -> str:
    return "NaN" if math.isnan(number) else "Infinity" if number > 0 else "-Infinity"
