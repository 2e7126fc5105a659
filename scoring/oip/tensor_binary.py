"""The binary tensor data extension: little-endian elements, row major, no padding; BOOL one byte,
0 or 1; BYTES a 4-byte little-endian length and that many bytes for each element."""

from __future__ import annotations

import struct
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np

from scoring.errors import InputError
from scoring.oip.expected import Array, Expected, received

_LENGTH = struct.Struct("<I")
_SWAPPED = sys.byteorder == "big"


def read_binary(
    body: bytes, start: int, end: int, shape: Sequence[int], size: int, expected: Expected
) -> Array:
    """The array of ``shape``, of ``size`` elements, in ``body[start:end]``: a view of ``body``
    where the processor can read it there, so read-only.

    Raises InputError when the bytes do not fit."""
    if expected.kind == "O":
        return expected.shaped(
            _texts(_elements(memoryview(body)[start:end], shape, size, expected)), shape
        )
    if end - start != size * expected.item_bytes:
        raise InputError(
            f"input '{expected.name}': {end - start} bytes are not {expected.datatype} "
            f"{received(shape)}, whose elements have {expected.item_bytes} bytes"
        )
    if size == 0:
        return expected.empty(shape)
    array: Array = np.frombuffer(body, expected.dtype, size, start)
    if expected.kind == "b" and array.view(np.uint8).max() > 1:
        raise InputError(f"input '{expected.name}': a BOOL is one byte, 0 or 1")
    if _SWAPPED:
        array = array.byteswap()
    elif not array.flags.aligned:
        array = array.copy()  # the JSON before it may have any length
    return array.reshape(shape)


def write_binary(array: Array, datatype: str) -> bytes:
    """The bytes of ``array``."""
    if datatype != "BYTES":
        return array.byteswap().tobytes() if _SWAPPED else array.tobytes()
    parts: list[bytes] = []
    for item in array.reshape(-1).tolist():
        written = item if isinstance(item, bytes) else str(item).encode("utf-8", "replace")
        parts.append(_LENGTH.pack(len(written)))
        parts.append(written)
    return b"".join(parts)


def text_of(element: bytes | memoryview, expected: Expected) -> str:
    """Models take text. Raises InputError for bytes that are none."""
    try:
        return str(element, "utf-8")
    except UnicodeDecodeError as error:
        raise InputError(
            f"input '{expected.name}' is text: an element is no UTF-8 ({error.reason})"
        ) from None


def _elements(chunk: memoryview, shape: Sequence[int], size: int, expected: Expected) -> list[str]:
    # Each element has at least its length: a shape that promises more stops here, not in memory.
    if size * _LENGTH.size > len(chunk):
        raise InputError(
            f"input '{expected.name}': {len(chunk)} bytes hold no {received(shape)} texts"
        )
    found: list[str] = []
    start = 0
    for _ in range(size):
        if start + _LENGTH.size > len(chunk):
            raise InputError(
                f"input '{expected.name}': binary data ends after {len(found)} of {size} elements"
            )
        (length,) = _LENGTH.unpack_from(chunk, start)
        start += _LENGTH.size
        if length > len(chunk) - start:
            raise InputError(
                f"input '{expected.name}': element {len(found)} is said to have {length} bytes, "
                f"{len(chunk) - start} are left"
            )
        found.append(text_of(chunk[start : start + length], expected))
        start += length
    if start != len(chunk):
        raise InputError(
            f"input '{expected.name}': {len(chunk) - start} bytes are left after {size} elements"
        )
    return found


def _texts(found: Sequence[str]) -> Array:
    array: Array = np.empty(len(found), dtype=object)
    values: Any = found
    array[:] = values
    return array
