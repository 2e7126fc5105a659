"""The JSON ``data`` of one tensor: to an array, and an array to it.

Lists are flat or nested just as ``shape`` says (the protocol allows both), row major. Values are as
strict as in scoring/tensors.py: 1.5 is no integer, 300 no UINT8, 1e39 no FP32, true no number, and
"NaN", "Infinity" and "-Infinity" are floats.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from functools import cache
from itertools import chain
from typing import Any

import msgspec
import numpy as np
import orjson

from scoring.errors import InputError
from scoring.json_codec.exact import EXACT_FLOAT, NON_FINITE, NULL_HINT
from scoring.oip.expected import Array, Expected, received

_ITEMS: dict[str, type] = {"f": float, "i": int, "u": int, "b": bool, "O": str}
_OPEN = ord("[")
_JSON_FLOATS = frozenset({"FP16", "FP32", "FP64"})


def parse_data(
    data: bytes | memoryview, shape: Sequence[int], size: int, expected: Expected
) -> Array:
    """The array of ``shape``, of ``size`` elements, that ``data`` (valid JSON) holds.

    Raises InputError when ``data`` does not fill the shape or does not fit the datatype."""
    if expected.datatype == "BF16":
        raise InputError(f"input '{expected.name}' is BF16, which is sent as binary data only")
    nested = len(shape) > 1 and len(data) > 1 and data[1] == _OPEN
    try:
        values: Any = _decoder(expected.kind, len(shape) if nested else 1).decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return _spelled_out(data, shape, size, expected)
    if nested:
        values = _flattened(values, shape)
    if values is None or len(values) != size:
        return _spelled_out(data, shape, size, expected)
    return _packed(values, shape, expected)


def write_data(array: Array, datatype: str, name: str) -> bytes:
    """JSON of the values, flat. Always valid: non-finite floats are spelled as strings.

    Raises InputError for BF16, which JSON does not carry."""
    if datatype == "BYTES":
        return orjson.dumps([_text(item) for item in array.reshape(-1).tolist()])
    if datatype == "BF16":
        raise InputError(f"output '{name}' is BF16: ask for it as binary data")
    flat = np.ascontiguousarray(array).reshape(-1)
    written = orjson.dumps(flat, option=orjson.OPT_SERIALIZE_NUMPY)
    if datatype in _JSON_FLOATS and b"n" in written:  # orjson's null, for want of a number
        return orjson.dumps([_spelled(item) for item in flat.tolist()])
    return written


@cache
def _decoder(kind: str, depth: int) -> msgspec.json.Decoder[Any]:
    """Of lists nested ``depth`` deep. At most 5 kinds times MAX_DIMS of them."""
    nested: Any = _ITEMS[kind]
    for _ in range(depth):
        nested = list[nested]
    return msgspec.json.Decoder(nested)


def _flattened(values: list[Any], shape: Sequence[int]) -> list[Any] | None:
    """The items of lists nested as ``shape`` says; None when they are not."""
    level = values
    if len(level) != shape[0]:
        return None
    for size in shape[1:]:
        for item in level:
            if len(item) != size:
                return None
        level = list(chain.from_iterable(level))
    return level


def _packed(values: list[Any], shape: Sequence[int], expected: Expected) -> Array:
    if not values:
        return expected.empty(shape)
    if expected.kind == "O":
        return np.array(values, dtype=object).reshape(shape)
    try:
        packed = struct.pack(f"={len(values)}{expected.packed}", *values)
    except (struct.error, OverflowError):
        raise _out_of_range(values, expected) from None
    return np.frombuffer(packed, expected.dtype).reshape(shape)


def _out_of_range(values: list[Any], expected: Expected) -> InputError:
    if expected.kind == "f":
        return expected.misfit("a value too large for it")
    info = np.iinfo(expected.dtype)
    odd = next(value for value in values if not info.min <= value <= info.max)
    return expected.misfit(f"{str(odd)[:40]}, which is out of {info.min}..{info.max}")


def _spelled_out(
    data: bytes | memoryview, shape: Sequence[int], size: int, expected: Expected
) -> Array:
    """The slow way, for what the fast way does not know, and to say what is wrong."""
    try:
        value = msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InputError(f"input '{expected.name}': data cannot be read: {error}") from None
    if not isinstance(value, list):
        if shape:
            raise expected.misfit(f"{_named(value)} instead of a list")
        value = [value]
    if len(value) == size and not any(isinstance(item, list) for item in value):
        leaves: list[Any] = value
    else:
        leaves = _nested_leaves(value, shape, size, expected)
    return _packed([_item(leaf, expected) for leaf in leaves], shape, expected)


def _nested_leaves(
    value: list[Any], shape: Sequence[int], size: int, expected: Expected
) -> list[Any]:
    if not any(isinstance(item, list) for item in value):
        raise expected.misfit(f"{len(value)} values for {received(shape)}")
    level = [value]
    for wanted in shape:
        if not all(isinstance(item, list) and len(item) == wanted for item in level):
            break
        level = list(chain.from_iterable(level))
    else:
        if not any(isinstance(item, list) for item in level):
            return level
    if size == 0 and not _holds_any(value):
        return []
    raise expected.misfit(f"lists that are not nested as {received(shape)}")


def _holds_any(value: list[Any]) -> bool:
    waiting: list[Any] = [value]
    while waiting:
        item = waiting.pop()
        if not isinstance(item, list):
            return True
        waiting.extend(item)
    return False


def _item(value: Any, expected: Expected) -> Any:
    kind = expected.kind
    if type(value) is _ITEMS[kind]:
        return value
    if kind == "f":
        if type(value) is int:
            return _as_float(value, expected)
        if type(value) is str and value in NON_FINITE:
            return NON_FINITE[value]
    # 1.0 is an integer to JSON Schema and to Protocol Buffers alike.
    if kind in "iu" and type(value) is float and value.is_integer() and abs(value) < EXACT_FLOAT:
        return int(value)
    raise expected.misfit(_named(value))


def _as_float(value: int, expected: Expected) -> float:
    try:
        return float(value)
    except OverflowError:
        raise expected.misfit("a huge integer") from None


def _named(value: Any) -> str:
    if value is None:
        return NULL_HINT
    names = {bool: "true or false", str: "text", dict: "an object", list: "a list"}
    return names.get(type(value), f"the number {str(value)[:40]}")


def _spelled(number: float) -> float | str:
    if number - number == 0:
        return number
    return "NaN" if number != number else "Infinity" if number > 0 else "-Infinity"


def _text(item: Any) -> str:
    """What JSON can hold of an element: models give str, few give bytes."""
    if isinstance(item, bytes):
        return item.decode("utf-8", "replace")
    return str(item)
