"""Arrays from large JSON bodies of numbers, without a Python object for each.

    read = decode_large(body, signature)

Only even lists of numbers, of booleans or of the words "NaN", "Infinity" and "-Infinity" are read
here; all else is left to exact.py. A body is read in pieces, so that other threads
get their turn, and that memory is that of the body, its outline and the arrays.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import orjson

from scoring.errors import InputError
from scoring.json_codec import exact as json_exact
from scoring.json_codec.document import has_too_many_values
from scoring.json_codec.exact import Array, Hints
from scoring.json_codec.numbers import Kind, flat_values, parse_numbers
from scoring.json_codec.outline import (
    BLANK,
    Member,
    even_sizes,
    find_members,
    is_hollow,
    outline,
    pieces,
    size_of,
)
from scoring.signature import Signature, TensorSpec, check_shape

PIECE_BYTES = 256 * 1024
"""simdjson holds 14 times this for each thread, and the interpreter for half a millisecond."""
_LONGEST_SCALAR = 1024
_NO_HINTS = Hints(booleans=False, text=False)
_WIDE = frozenset({"float32", "float64"})


def decode_large(
    body: bytes, signature: Signature, *, piece_bytes: int = PIECE_BYTES
) -> dict[str, Any] | InputError | None:
    """Arrays by input name, exactly those of the exact path; None when it must be asked.

    An InputError is what the exact path would raise if the rest of the body is in order."""
    members = _known_members(body, signature)
    if members is None:
        return None
    read: dict[str, Any] = {}
    try:
        for spec in (*signature.inputs, *signature.optional_inputs):
            if spec.name in members:
                value = _decode_member(spec, body, members[spec.name], piece_bytes)
                if value is None:
                    return None
                read[spec.name] = value
    except InputError as error:
        return error.with_traceback(None)  # its frames hold copies of the body
    except orjson.JSONDecodeError:
        return None
    return read


def reads_numbers(signature: Signature) -> bool:
    """Whether any input is one that decode_large is for."""
    return any(_is_plain(spec) for spec in (*signature.inputs, *signature.optional_inputs))


def _known_members(body: bytes, signature: Signature) -> dict[str, Member] | None:
    """Members by input name; None when some are unknown, missing or there twice."""
    found = find_members(body)
    if found is None:
        return None
    if len(signature.inputs) == 1 and [member.name for member in found] == [b"data"]:
        return {signature.inputs[0].name: found[0]}
    specs = (*signature.inputs, *signature.optional_inputs)
    known = {orjson.dumps(spec.name)[1:-1]: spec.name for spec in specs}
    if any(member.name not in known for member in found):
        return None
    members = {known[member.name]: member for member in found}
    complete = all(spec.name in members for spec in signature.inputs)
    return members if complete and len(members) == len(found) else None


def _decode_member(spec: TensorSpec, body: bytes, member: Member, piece_bytes: int) -> Any:
    if _is_plain(spec):
        marks = outline(body, member.start, member.stop)
        sizes = even_sizes(marks)
        if sizes is not None:
            del marks
            return _even_lists(spec, body, member, sizes, piece_bytes)
        if marks or member.stop - member.start > _LONGEST_SCALAR:
            return None
    text = body[member.start : member.stop]
    if member.shape is not None or has_too_many_values(text):
        return None
    try:
        hints = json_exact.hints(text, keys=0)
        return json_exact.decode_value(spec, orjson.loads(text), hints)
    except InputError:
        return None


def _is_plain(spec: TensorSpec) -> bool:
    return not spec.is_sequence and spec.dtype != "string" and not spec.dtype.startswith("complex")


def _even_lists(
    spec: TensorSpec, body: bytes, member: Member, sizes: tuple[int, ...], piece_bytes: int
) -> Array | None:
    shape = None
    if member.shape is not None:
        given = orjson.loads(body[slice(*member.shape)].strip(BLANK))
        shape, _ = json_exact.shape_and_data(spec, {"shape": given, "data": None})
    else:
        _refuse_sizes(spec, body, member, sizes)
    count = size_of(sizes)
    array = np.empty(count, json_exact.dtype_of(spec.dtype))
    filled = 0
    for piece in pieces(body, member.start, member.stop, piece_bytes):
        values = _values(spec, piece, len(sizes))
        if values is None or filled + values.size > count:
            return None
        array[filled : filled + values.size] = values
        filled += values.size
    if filled == 0 and sizes[-1] == 1:
        array, sizes = array[:0], (*sizes[:-1], 0)
    elif filled != count:
        return None
    return json_exact.with_shape(spec, array.reshape(sizes), shape)


def _refuse_sizes(spec: TensorSpec, body: bytes, member: Member, sizes: tuple[int, ...]) -> None:
    """Raise InputError before reading values of which no number would fit."""
    if sizes[-1] == 1 and is_hollow(body, member.start, member.stop):
        sizes = (*sizes[:-1], 0)
    array = np.broadcast_to(np.empty((), json_exact.dtype_of(spec.dtype)), sizes)
    if array.size:
        check_shape(spec, array)
    else:
        json_exact.with_shape(spec, np.empty(sizes, array.dtype), None)


def _values(spec: TensorSpec, piece: bytes, depth: int) -> Array | None:
    """All values of a list, in the dtype of ``spec``; None when not as deep. Raises InputError."""
    kind = _kind(spec)
    wide = None if kind is None else parse_numbers(piece, kind, depth)
    if wide is None:
        return _exact_values(spec, piece, depth)
    if spec.dtype in _WIDE:
        with np.errstate(over="ignore"):
            narrow = wide.astype(spec.dtype, copy=False)
        if np.isfinite(narrow).all():
            return narrow
    return json_exact.to_dtype(spec, wide, None, _NO_HINTS)


def _kind(spec: TensorSpec) -> Kind | None:
    if spec.dtype == "bool":
        return None
    return "i" if spec.dtype.startswith("int") else "u" if spec.dtype.startswith("uint") else "d"


def _exact_values(spec: TensorSpec, piece: bytes, depth: int) -> Array | None:
    values = flat_values(piece, depth)
    if values is None:
        return None
    hints = json_exact.hints(piece, keys=0)
    array = json_exact.array_of(spec, values, hints)
    return json_exact.to_dtype(spec, array, values, hints) if array.ndim == 1 else None
