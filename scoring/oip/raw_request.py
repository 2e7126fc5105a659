"""A raw request (Inference-Header-Content-Length: 0): the body is a model's only input.

Its shape is the model's, with at most one size to find out; a second free size is allowed in front
and is 1 then, as Triton does with its batch. For BYTES the body is the one element.
"""

from __future__ import annotations

import math

import numpy as np

from scoring.errors import InputError
from scoring.oip.expected import Array, Expected
from scoring.oip.tensor_binary import read_binary, text_of


def read_raw(body: bytes, expected: Expected) -> Array:
    """The input. Raises InputError where its shape cannot be told or the bytes do not fill it."""
    if expected.shape is None:
        raise InputError(f"input '{expected.name}' may have any shape: a raw request cannot say it")
    if expected.kind == "O":
        return _one_text(body, expected)
    shape = _shape(len(body), expected)
    return read_binary(body, 0, len(body), shape, math.prod(shape), expected)


def _one_text(body: bytes, expected: Expected) -> Array:
    assert expected.shape is not None
    if any(isinstance(dim, int) and dim != 1 for dim in expected.shape):
        raise InputError(f"a raw request is one element, but input '{expected.name}' is {expected}")
    array: Array = np.empty(1, dtype=object)
    array[0] = text_of(body, expected)
    return array.reshape((1,) * len(expected.shape))


def _shape(received_bytes: int, expected: Expected) -> list[int]:
    assert expected.shape is not None
    shape = [dim if isinstance(dim, int) else -1 for dim in expected.shape]
    if shape.count(-1) == 2 and shape[0] == -1:
        shape[0] = 1
    if shape.count(-1) > 1:
        raise InputError(
            f"input '{expected.name}' is {expected}: a raw request cannot say several sizes"
        )
    if -1 in shape:
        row_bytes = expected.item_bytes * math.prod(dim for dim in shape if dim != -1)
        if row_bytes == 0 or received_bytes % row_bytes:
            raise expected.misfit(f"{received_bytes} bytes, which are no multiple of {row_bytes}")
        shape[shape.index(-1)] = received_bytes // row_bytes
    return shape
