"""Requests with large JSON tensors: one pass of simdjson over the whole body, numbers straight into
an array. Everything that is not plain (text, booleans, NaN, a mistake) is left to the usual way,
which reads it or says what is wrong.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import msgspec
import numpy as np

from scoring.errors import InputError
from scoring.oip.envelope import Head
from scoring.oip.expected import Array, Expected

try:
    import simdjson
except ImportError:  # optional: the usual way is right, and two to three times slower
    simdjson = None  # type: ignore[assignment]

LARGE_BYTES = 8192
KEPT_BYTES = 1024 * 1024
"""A parser keeps about 14 times the largest body it has seen: one is kept, up to this size."""
MOST_LISTS = 4096
"""Looking into each list takes 0.2 us; more of them are read faster the usual way."""
_BUFFERS = {"f": ("d", np.float64), "i": ("i", np.int64), "u": ("u", np.uint64)}
_OPEN = ord("[")
_NOT_PLAIN = (
    *(ValueError, TypeError, LookupError, RuntimeError, AttributeError),
    *(InputError, msgspec.MsgspecError),
)
"""simdjson's errors are of the first five kinds."""


class LargeRequest(NamedTuple):
    """A request whose inputs are all read."""

    head: Head
    inputs: dict[str, Array]


class LargeReader:
    """Reads the large requests of one model. Not for two threads."""

    def __init__(self, inputs: Mapping[str, Expected]) -> None:
        self._inputs = inputs
        numeric = all(item.packed and item.kind in _BUFFERS for item in inputs.values())
        self.usable = simdjson is not None and numeric
        self._parser: Any = simdjson.Parser() if self.usable else None

    def read(self, body: bytes) -> LargeRequest | None:
        """The request, when it is plain; None when the usual way must look. Never raises."""
        parser = self._parser if len(body) <= KEPT_BYTES else simdjson.Parser()
        try:
            return self._read(parser.parse(body), body)
        except _NOT_PLAIN:
            if parser is self._parser:  # the error's frames may hold what it parsed: it is busy
                self._parser = simdjson.Parser()
            return None

    def _read(self, document: Any, body: bytes) -> LargeRequest | None:
        tensors = document["inputs"]
        if len(tensors) > len(self._inputs):
            return None
        arrays: dict[str, Array] = {}
        lists = 1
        for tensor in tensors:
            expected = self._inputs[tensor["name"]]
            shape = tensor["shape"].as_list()
            data = tensor["data"]
            parameters = tensor.get("parameters")
            if expected.name in arrays or (parameters is not None and len(parameters)):
                return None
            if not all(type(size) is int for size in shape):
                return None
            size = expected.check(tensor["datatype"], shape)
            array, inner = _array(data, shape, size, expected)
            if array is None:
                return None
            arrays[expected.name] = array
            lists += 1 + inner
        head = _head(document)
        lists += head.outputs is not None
        if _lists_in(body) != lists:
            return None
        return LargeRequest(head, arrays)


def _array(
    data: Any, shape: Sequence[int], size: int, expected: Expected
) -> tuple[Array | None, int]:
    """The array in ``data``, and of how many lists it is made when it is nested as ``shape``."""
    letter, wide = _BUFFERS[expected.kind]
    values: Array = np.frombuffer(data.as_buffer(of_type=letter), wide)
    if values.size != size or size == 0:
        return None, 0
    if len(shape) < 2 or not isinstance(data[0], simdjson.Array):
        lists = int(len(data) == size)
    else:
        lists = _nested(data, shape)
    if lists == 0:
        return None, 0
    cast = _cast(values, expected)
    return (None if cast is None else cast.reshape(shape)), lists


def _cast(values: Array, expected: Expected) -> Array | None:
    if expected.dtype == values.dtype:
        return values
    if expected.kind == "f":
        with np.errstate(over="ignore"):
            cast = values.astype(expected.dtype)
        return cast if np.isfinite(cast).all() else None
    info = np.iinfo(expected.dtype)
    if values.min() < info.min or values.max() > info.max:
        return None
    return values.astype(expected.dtype)


def _nested(data: Any, shape: Sequence[int]) -> int:
    """How many lists ``data`` is made of when it is nested as ``shape``; otherwise 0."""
    counts = [1]
    for size in shape[:-1]:
        counts.append(counts[-1] * size)
    if sum(counts) > MOST_LISTS or not _fits(data, shape):
        return 0
    return sum(counts)


def _fits(data: Any, shape: Sequence[int]) -> bool:
    if len(data) != shape[0]:
        return False
    return len(shape) == 1 or all(_fits(part, shape[1:]) for part in data)


def _head(document: Any) -> Head:
    plain = {
        name: value.as_dict() if hasattr(value, "as_dict") else value
        for name in ("id", "parameters")
        if (value := document.get(name)) is not None
    }
    outputs = document.get("outputs")
    if outputs is not None:
        plain["outputs"] = outputs.as_list()
    return msgspec.convert(plain, Head)


def _lists_in(body: bytes) -> int:
    """How many ``[`` there are: with it, lists of the right lengths are the only ones. (Four times
    as fast as ``bytes.count``.)"""
    return int(np.count_nonzero(np.frombuffer(body, np.uint8) == _OPEN))
