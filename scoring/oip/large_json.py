"""Requests with large JSON tensors, without a Python object for each number.

The lists of numbers are cut out of the body, numbered, and read piece by piece into arrays; what is
left is small. Everything that is not plain (text, booleans, NaN, a mistake) is left to the usual
way, which reads it or says what is wrong.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import msgspec
import numpy as np

from scoring.errors import InputError
from scoring.json_codec.numbers import Kind, parse_numbers
from scoring.json_codec.outline import BLANK, even_sizes, outline, pieces
from scoring.oip.envelope import Head, InputParameters
from scoring.oip.expected import Array, Expected

LARGE_BYTES = 8 * 1024
PIECE_BYTES = 256 * 1024
"""simdjson holds 14 times this, and the interpreter for half a millisecond."""
_KINDS: dict[str, Kind] = {"f": "d", "i": "i", "u": "u"}
_KEY = b'"data"'
_OPEN = ord("[")


class LargeRequest(NamedTuple):
    """A request whose inputs are all read."""

    head: Head
    inputs: dict[str, Array]


class _CutTensor(msgspec.Struct):
    name: str
    datatype: str
    shape: list[int]
    data: int
    parameters: InputParameters | None = None


class _CutRequest(Head, kw_only=True):
    inputs: list[_CutTensor]


class _Span(NamedTuple):
    start: int
    stop: int


_DECODER = msgspec.json.Decoder(_CutRequest)


class LargeReader:
    """Reads the large requests of one model."""

    def __init__(self, inputs: Mapping[str, Expected], *, piece_bytes: int = PIECE_BYTES) -> None:
        self._inputs = inputs
        self._piece_bytes = piece_bytes
        self.usable = all(item.packed and item.kind in _KINDS for item in inputs.values())

    def read(self, body: bytes) -> LargeRequest | None:
        """The request, when it is plain; None when the usual way must look."""
        spans = _spans(body, len(self._inputs))
        if spans is None:
            return None
        try:
            request = _DECODER.decode(_without(body, spans))
            if [tensor.data for tensor in request.inputs] != list(range(len(spans))):
                return None  # some of the lists are no input's
            inputs: dict[str, Array] = {}
            for tensor, span in zip(request.inputs, spans, strict=True):
                array = self._array(tensor, body, span)
                if array is None or tensor.name in inputs:
                    return None
                inputs[tensor.name] = array
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, InputError):
            return None
        return LargeRequest(request, inputs)

    def _array(self, tensor: _CutTensor, body: bytes, span: _Span) -> Array | None:
        expected = self._inputs.get(tensor.name)
        if expected is None or tensor.parameters not in (None, InputParameters()):
            return None
        size = expected.check(tensor.datatype, tensor.shape)
        depth = _depth(body, span, tensor.shape) if 0 < size <= span.stop - span.start else 0
        if depth == 0:
            return None
        array = np.empty(size, expected.dtype)
        filled = 0
        for piece in pieces(body, span.start, span.stop, self._piece_bytes):
            values = parse_numbers(piece, _KINDS[expected.kind], depth)
            # An empty piece would be a comma too many.
            if values is None or not 0 < values.size <= size - filled:
                return None
            if not _fill(array[filled : filled + values.size], values):
                return None
            filled += values.size
        return array.reshape(tensor.shape) if filled == size else None


def _spans(body: bytes, most: int) -> list[_Span] | None:
    """Where the lists behind each key "data" are, if they look like numbers only; None when there
    is something else or there are more than ``most``. No text in JSON holds the bytes of the key:
    the quotes in it would be escaped."""
    spans: list[_Span] = []
    key = body.find(_KEY)
    while key >= 0:
        head = body[key + len(_KEY) : key + len(_KEY) + 64]
        start = key + len(_KEY) + len(head) - len(head.lstrip(BLANK + b":"))
        if body[start : start + 1] != b"[" or len(spans) == most:
            return None
        stop = _end(body, start)
        if stop is None:
            return None
        spans.append(_Span(start, stop))
        key = body.find(_KEY, stop)
    return spans


def _end(body: bytes, start: int) -> int | None:
    """Where the list ends: there the object ends or its next key begins."""
    brace = body.find(b"}", start)
    if brace < 0:
        return None
    quote = body.find(b'"', start, brace)
    stop = quote if quote >= 0 else brace
    tail = body[max(start, stop - 64) : stop]
    kept = tail.rstrip(BLANK)
    if quote >= 0:
        if not kept.endswith(b","):
            return None
        kept = kept[:-1].rstrip(BLANK)
    return stop - len(tail) + len(kept)


def _without(body: bytes, spans: Sequence[_Span]) -> bytes:
    """``body`` with a number for each of the lists."""
    parts: list[bytes] = []
    at = 0
    for number, span in enumerate(spans):
        parts += (body[at : span.start], b"%d" % number)
        at = span.stop
    return b"".join((*parts, body[at:]))


def _depth(body: bytes, span: _Span, shape: Sequence[int]) -> int:
    """1 for a flat list, the length of ``shape`` for lists nested so; 0 otherwise. That it holds
    as many values is still to be seen."""
    text = np.frombuffer(body, np.uint8, span.stop - span.start, span.start)
    if np.count_nonzero(text == _OPEN) == 1:  # four times as fast as bytes.count
        return 1
    is_nested = even_sizes(outline(body, span.start, span.stop)) == tuple(shape)
    return len(shape) if is_nested else 0


def _fill(target: Array, values: Array) -> bool:
    """Copy ``values``; False when some do not fit the dtype of ``target``."""
    if target.dtype.kind == "f":
        with np.errstate(over="ignore"):
            target[:] = values
        return bool(np.isfinite(target).all())
    info = np.iinfo(target.dtype)
    if values.min() < info.min or values.max() > info.max:
        return False
    target[:] = values
    return True
