"""Arrays from JSON values, exactly: whatever fits no faster path, and every refusal.

    read = decode_exactly(body, signature)

Slow and complete: the faster paths (small.py, large.py) give up on what is unusual, and the words
that a client sees are written here.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scoring.errors import InputError
from scoring.json_codec.document import by_name, parse
from scoring.signature import Signature, TensorSpec, check_shape, shape_text

Array = NDArray[Any]
NON_FINITE = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}
_KINDS = {"f": "fractions", "i": "integers"}
EXACT_FLOAT = 2**53
"""From here on a number with a fraction or exponent may not be the integer that was written."""
MAX_DIMS = 32
"""numpy iterates over no more (NPY_MAXDIMS before numpy 2)."""
NULL_HINT = 'null is no value; write "NaN" for a missing number'


@dataclass(frozen=True, slots=True)
class Hints:
    """What a body may hold among its values; False spares a walk through all of them."""

    booleans: bool
    text: bool


def hints(body: bytes, *, keys: int) -> Hints:
    """What the values in ``body`` may be, which has ``keys`` keys at least."""
    return Hints(booleans=b"true" in body or b"false" in body, text=body.count(b'"') > 2 * keys)


def dtype_of(name: str) -> np.dtype[Any]:
    """The numpy dtype called ``name``, with the extension types of ml_dtypes; text is object."""
    if name == "string":
        return np.dtype(object)
    try:
        return np.dtype(name)
    except TypeError:
        import ml_dtypes

        extension: np.dtype[Any] = np.dtype(getattr(ml_dtypes, name))
        return extension


def decode_exactly(body: bytes, signature: Signature) -> dict[str, Any]:
    """Arrays by input name.

    Raises BodyError when the body is no JSON object, InputError when a value does not fit."""
    document = parse(body)
    named = by_name(document, signature)
    may_hold = hints(body, keys=len(document))
    return {
        spec.name: decode_value(spec, named[spec.name], may_hold)
        for spec in (*signature.inputs, *signature.optional_inputs)
        if spec.name in named
    }


def decode_value(spec: TensorSpec, value: Any, hints: Hints) -> Any:
    """The array, or the list of arrays, that ``value`` is for ``spec``. Raises InputError."""
    if not spec.is_sequence:
        return _decode_tensor(spec, value, hints)
    if not isinstance(value, list):
        raise InputError(f"input '{spec.name}' expects {spec}, got one value")
    return [_decode_tensor(spec, item, hints) for item in value]


def _decode_tensor(spec: TensorSpec, value: Any, hints: Hints) -> Array:
    shape = None
    if isinstance(value, dict):
        shape, value = shape_and_data(spec, value)
    return with_shape(spec, to_dtype(spec, array_of(spec, value, hints), value, hints), shape)


def with_shape(spec: TensorSpec, array: Array, shape: tuple[int, ...] | None) -> Array:
    """``array`` in ``shape`` where the client gave one. Raises InputError when it does not fit."""
    if shape is not None:
        array = _reshaped(spec, array, shape)
    elif array.size == 0:
        array = _empty(spec, array)
    check_shape(spec, array)
    return array


def shape_and_data(spec: TensorSpec, value: dict[str, Any]) -> tuple[tuple[int, ...], Any]:
    """The two members of ``{"shape": [...], "data": VALUE}``. Raises InputError."""
    shape = value.get("shape")
    is_shape = isinstance(shape, list) and all(type(n) is int and 0 <= n < 2**31 for n in shape)
    if set(value) != {"shape", "data"} or not is_shape:
        raise InputError(
            f'input \'{spec.name}\': an object must be {{"shape": [sizes], "data": [values]}}'
        )
    assert isinstance(shape, list)
    _check_dims(spec, len(shape))
    return tuple(shape), value["data"]


def _reshaped(spec: TensorSpec, array: Array, shape: tuple[int, ...]) -> Array:
    if math.prod(shape) != array.size:
        raise InputError(
            f"input '{spec.name}': {array.size} values do not fill shape {shape_text(shape)}"
        )
    try:
        return array.reshape(shape)
    except ValueError:  # no values, and sizes whose product is beyond any memory
        raise InputError(f"input '{spec.name}': shape {shape_text(shape)} is too large") from None


def _empty(spec: TensorSpec, array: Array) -> Array:
    """``[]`` says nothing of the inner sizes: take them from the signature."""
    if spec.shape is None or array.ndim >= len(spec.shape) or array.ndim == 0:
        return array
    rest = (dim if isinstance(dim, int) else 0 for dim in spec.shape[array.ndim :])
    return array.reshape((*array.shape, *rest))


def _check_dims(spec: TensorSpec, dims: int) -> None:
    if dims > MAX_DIMS:
        raise InputError(
            f"input '{spec.name}' expects {spec}, got more than {MAX_DIMS} nested dimensions"
        )


def array_of(spec: TensorSpec, value: Any, hints: Hints) -> Array:
    """What numpy makes of nested lists, text as objects. Raises InputError when they are ragged."""
    _check_dims(spec, _depth(value))
    if spec.dtype == "string" or (hints.text and _holds(value, str)):
        # numpy would give every item the room of the longest text
        return _object_array(spec, value)
    try:
        return np.array(value)
    except (ValueError, OverflowError):
        raise InputError(
            f"input '{spec.name}' expects {spec}, got lists of different lengths"
        ) from None


def _object_array(spec: TensorSpec, value: Any) -> Array:
    """An array of the JSON values themselves."""
    try:
        shape = np.array(value, dtype=object).shape
    except ValueError:
        raise InputError(
            f"input '{spec.name}' expects {spec}, got lists of different lengths"
        ) from None
    return np.array(value, dtype=object).reshape(shape)


def to_dtype(spec: TensorSpec, array: Array, value: Any, hints: Hints) -> Array:
    """``array`` in the dtype of ``spec``, exactly. Raises InputError."""
    if array.size == 0:
        return array.astype(dtype_of(spec.dtype))
    if spec.dtype == "string":
        return _strings(spec, array)
    if spec.dtype == "bool":
        return _booleans(spec, array, value)
    if array.dtype.kind == "b" or (hints.booleans and _holds(value, bool)):
        raise InputError(f"input '{spec.name}' expects {spec}, got true or false")
    if spec.dtype.startswith("complex"):
        raise InputError(f"input '{spec.name}' is {spec.dtype}, which JSON cannot carry")
    if spec.dtype.startswith(("int", "uint")):
        return _integers(spec, array, value)
    return _floats(spec, array, value)


def _strings(spec: TensorSpec, array: Array) -> Array:
    for item in array.flat:
        if not isinstance(item, str):
            raise InputError(f"input '{spec.name}' expects {spec}, got {_named(item)}")
    return array


def _booleans(spec: TensorSpec, array: Array, value: Any) -> Array:
    if array.dtype.kind != "b":
        odd = next((item for item in array.flat if type(item) is not bool), None)
        got = _named(odd) if array.dtype.kind == "O" else _kind(array)
        raise InputError(f"input '{spec.name}' expects {spec}: true or false, got {got}")
    return array


def _integers(spec: TensorSpec, array: Array, value: Any) -> Array:
    low, high = _integer_range(spec.dtype)
    if array.dtype.kind not in "iu":
        array = _object_array(spec, value)  # beyond int64, 1.0 among them, or no integers at all
        array.reshape(-1)[:] = [_whole(spec, item) for item in array.flat]
    if int(array.min()) < low or int(array.max()) > high:
        raise InputError(f"input '{spec.name}' expects {spec}, got a value out of {low}..{high}")
    return array.astype(dtype_of(spec.dtype))


def _whole(spec: TensorSpec, item: Any) -> int:
    """1.0 is an integer to JSON Schema and to Protocol Buffers alike."""
    if type(item) is int:
        return item
    if type(item) is float and item.is_integer() and abs(item) < EXACT_FLOAT:
        return int(item)
    raise InputError(f"input '{spec.name}' expects {spec}, got {_named(item)}")


def _integer_range(dtype: str) -> tuple[int, int]:
    signed, bits = not dtype.startswith("u"), int(dtype.lstrip("uint"))
    return (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1)


def _floats(spec: TensorSpec, array: Array, value: Any) -> Array:
    if array.dtype.kind not in "fiu":
        array = _spelled_floats(spec, _object_array(spec, value))
    elif array.dtype.kind in "iu":  # as beside a fraction: no number depends on its neighbours
        array = array.astype(np.float64)
    with np.errstate(over="ignore", invalid="ignore"):
        cast = array.astype(dtype_of(spec.dtype))
    if array.dtype != cast.dtype:
        wide, back = array.astype(np.float64), cast.astype(np.float64)
        finite = np.isfinite(wide)
        if not np.array_equal(finite, np.isfinite(back)):
            raise InputError(f"input '{spec.name}' expects {spec}, got a value too large for it")
        # float8_e4m3fn has no infinity
        if not finite.all() and not np.array_equal(np.isnan(wide), np.isnan(back)):
            raise InputError(f"input '{spec.name}' expects {spec}, which has no such value")
    return cast


def _spelled_floats(spec: TensorSpec, array: Array) -> Array:
    """Numbers, some of them spelled "NaN" and so on, as float64."""

    def number(item: Any) -> float:
        if type(item) is str and item in NON_FINITE:
            return NON_FINITE[item]
        if type(item) in (int, float):
            return float(item)
        raise InputError(f"input '{spec.name}' expects {spec}, got {_named(item)}")

    try:
        values = [number(item) for item in array.flat]
    except OverflowError:
        raise InputError(f"input '{spec.name}' expects {spec}, got a huge integer") from None
    return np.array(values, dtype=np.float64).reshape(array.shape)


def _depth(value: Any) -> int:
    """Nesting of the first items: of all, unless the lists are ragged."""
    depth = 0
    while isinstance(value, list):
        depth += 1
        value = value[0] if value else None
    return depth


def _holds(value: Any, kind: type) -> bool:
    waiting = [value]
    while waiting:
        item = waiting.pop()
        if isinstance(item, list):
            waiting.extend(item)
        elif type(item) is kind:
            return True
    return False


def _named(item: Any) -> str:
    if item is None:
        return NULL_HINT
    names = {bool: "true or false", str: "text", dict: "an object", list: "a list"}
    return names.get(type(item), f"the number {str(item)[:40]}")


def _kind(array: Array) -> str:
    return _KINDS.get(array.dtype.kind, "other values")
