"""Numbers from a piece of JSON, straight into an array: by simdjson where it is installed.

The only module that names simdjson. It has no wheel for some boards; orjson then takes its place,
at about twice the time.
"""

from __future__ import annotations

import struct
import threading
from itertools import chain
from typing import Any, Literal

import numpy as np
import orjson
from numpy.typing import NDArray

from scoring.json_codec.exact import NON_FINITE

try:
    import simdjson

    HAS_SIMDJSON = True
except ImportError:
    HAS_SIMDJSON = False

Kind = Literal["d", "i", "u"]
_DTYPES = {"d": np.dtype(np.float64), "i": np.dtype(np.int64), "u": np.dtype(np.uint64)}
_CODES = {"d": "d", "i": "q", "u": "Q"}
_thread = threading.local()


def parse_numbers(text: bytes, kind: Kind, depth: int) -> NDArray[Any] | None:
    """The numbers in the list ``text`` of lists nested ``depth`` deep, flattened, as float64
    (``d``; also the words "NaN", "Infinity", "-Infinity"), int64 (``i``) or uint64 (``u``).

    None when it is no valid JSON or holds anything else: other text, true, null, an integer that
    does not fit, for ``i`` and ``u`` a fraction or exponent. Only orjson looks at ``depth``."""
    if HAS_SIMDJSON and b'"' not in text:
        return _simdjson_numbers(text, kind)
    return _orjson_numbers(text, kind, depth)


def flat_values(text: bytes, depth: int) -> list[Any] | None:
    """The values in the list ``text``; None when not all lists are nested ``depth`` deep.

    Raises orjson.JSONDecodeError. What is deeper is left as lists."""
    values: list[Any] = orjson.loads(text)
    for _ in range(depth - 1):
        if not set(map(type, values)) <= {list}:
            return None
        values = list(chain.from_iterable(values))
    return values


def _simdjson_numbers(text: bytes, kind: Kind) -> NDArray[Any] | None:
    try:
        document = _parser().parse(text)
        if not isinstance(document, simdjson.Array):
            return None
        numbers = memoryview(document.as_buffer(of_type=kind))
    except (ValueError, TypeError, RuntimeError):
        return None
    dtype = _DTYPES[kind]
    return np.frombuffer(numbers, dtype) if numbers.nbytes else np.empty(0, dtype)


def _parser() -> simdjson.Parser:
    """This thread's own: it keeps its buffers, 14 times the longest text. What it returned must be
    gone before it parses again."""
    try:
        parser: simdjson.Parser = _thread.parser
    except AttributeError:
        parser = _thread.parser = simdjson.Parser()
    return parser


def _orjson_numbers(text: bytes, kind: Kind, depth: int) -> NDArray[Any] | None:
    if b"u" in text or b"l" in text:  # true and false, which struct takes for numbers
        return None
    try:
        values = flat_values(text, depth)
        if values is None:
            return None
        if kind == "d" and b'"' in text:
            values = [v if type(v) is float else NON_FINITE.get(v, v) for v in values]
        packed = struct.pack(f"{len(values)}{_CODES[kind]}", *values)
    except (ValueError, OverflowError, TypeError, struct.error):
        return None
    return np.ndarray(len(values), _DTYPES[kind], packed)
