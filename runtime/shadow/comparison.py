"""How a shadow's answer differs from the primary's. Pure.

    compared(b"/score", primary, shadow)

JSON is compared number by number, within tolerances (scoring/watching/comparison.py); answers of
the Open Inference Protocol by their outputs, also binary ones; all else byte by byte.
"""

from __future__ import annotations

import math
import zlib
from typing import Any

import msgspec
import numpy as np

from runtime.shadow.records import Answer
from scoring.oip.datatypes import DTYPES
from scoring.watching.comparison import (
    Comparison,
    Verdict,
    compare,
    compare_bodies,
    no_comparison,
)

MOST_BYTES = 32 << 20
"""Of an answer that was compressed."""
EXCERPT_CHARACTERS = 200
_HEADER_LENGTH = b"inference-header-content-length"
OVERLOADED = 429


def compared(target: bytes, primary: Answer, shadow: Answer) -> Comparison:
    """ERROR: the shadow failed where the primary did not. Errors of the client's are the same when
    their status is: their words may name a version."""
    if shadow.status != primary.status:
        text = f"status {shadow.status}, not {primary.status}"
        if shadow.status >= 500 or shadow.status == OVERLOADED:
            return no_comparison(text)
        return Comparison(Verdict.DIFFERENT, text)
    if primary.status >= 400 or primary.body == shadow.body:
        return Comparison(Verdict.EQUAL)
    try:
        first, second = plain(primary), plain(shadow)
    except ValueError as error:
        return Comparison(Verdict.DIFFERENT, f"{error}, and the bytes differ")
    if target.startswith(b"/v2/"):
        try:
            return compare(_outputs(primary, first), _outputs(shadow, second))
        except (ValueError, KeyError, TypeError, RecursionError, msgspec.MsgspecError):
            pass
    return compare_bodies(first, second)


def plain(answer: Answer) -> bytes:
    """Its body, decompressed. Raises ValueError for what is not that."""
    coding = (answer.header(b"content-encoding") or b"identity").strip().lower()
    if coding in (b"", b"identity"):
        return answer.body
    if coding not in (b"gzip", b"x-gzip", b"deflate"):
        raise ValueError("an answer is compressed in an unknown way")
    try:
        inflater = zlib.decompressobj(zlib.MAX_WBITS | 32)  # gzip and zlib
        found = inflater.decompress(answer.body, MOST_BYTES)
    except zlib.error:
        raise ValueError("an answer is compressed wrongly") from None
    if inflater.unconsumed_tail or not inflater.eof:
        raise ValueError("an answer is too large, or cut")
    return found


def excerpt(answer: Answer) -> str:
    """Its beginning, on one line, without anything that a terminal would act on."""
    try:
        body = plain(answer)
    except ValueError:
        body = answer.body
    text = body[: EXCERPT_CHARACTERS * 4].decode("utf-8", "backslashreplace")
    shown = "".join(one if one.isprintable() else " " for one in text)[:EXCERPT_CHARACTERS]
    return shown if len(body) <= len(shown) else f"{shown}..."


class _Parameters(msgspec.Struct):
    binary_data_size: int | None = None


class _Output(msgspec.Struct):
    name: str
    datatype: str
    shape: list[int]
    data: Any = None
    parameters: _Parameters = msgspec.field(default_factory=_Parameters)


class _Document(msgspec.Struct):
    outputs: list[_Output]


def _outputs(answer: Answer, body: bytes) -> dict[str, Any]:
    """By name: a datatype, a shape and the values. Raises ValueError, KeyError or MsgspecError for
    what is no such answer."""
    length = answer.header(_HEADER_LENGTH)
    head = body if length is None else body[: int(length)]
    at = len(head)
    found: dict[str, Any] = {}
    for output in msgspec.json.decode(head, type=_Document).outputs:
        values, size = output.data, output.parameters.binary_data_size
        if size is not None:
            values = _values(output.datatype, output.shape, body[at : at + size])
            at += size
        found[output.name] = {
            "datatype": output.datatype,
            "shape": output.shape,
            "data": values,
        }
    if length is not None and at != len(body):
        raise ValueError("the binary data does not fit")
    return found


def _values(datatype: str, shape: list[int], data: bytes) -> Any:
    """An array; as text where its elements have no fixed size."""
    dtype = DTYPES[datatype]
    if datatype in ("BYTES", "BF16"):
        return data.hex()
    array = np.frombuffer(data, np.dtype(dtype).newbyteorder("<")).astype(dtype)
    if array.size != math.prod(shape):
        raise ValueError("the binary data does not fit its shape")
    return array.reshape(shape)
