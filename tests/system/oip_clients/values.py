"""Values of each datatype, for the model that gives all of them back."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
BYTES = np.array([["", "grüße"], ["a\0b", '"\\']], dtype=object)
VALUES: dict[str, Array] = {
    "BOOL": np.array([[True, False], [False, True]]),
    "UINT8": np.array([[0, 255], [1, 2]], np.uint8),
    "UINT16": np.array([[0, 2**16 - 1], [1, 2]], np.uint16),
    "UINT32": np.array([[0, 2**32 - 1], [1, 2]], np.uint32),
    "UINT64": np.array([[0, 2**64 - 1], [1, 2]], np.uint64),
    "INT8": np.array([[-128, 127], [1, 2]], np.int8),
    "INT16": np.array([[-(2**15), 2**15 - 1], [1, 2]], np.int16),
    "INT32": np.array([[-(2**31), 2**31 - 1], [1, 2]], np.int32),
    "INT64": np.array([[-(2**63), 2**63 - 1], [1, 2]], np.int64),
    "FP16": np.array([[1.5, -65504], [np.nan, np.inf]], np.float16),
    "FP32": np.array([[0.1, -3.4e38], [np.nan, -np.inf]], np.float32),
    "FP64": np.array([[0.1, -1.7e308], [np.nan, np.inf]], np.float64),
    "BYTES": BYTES,
}
BF16 = np.array([[1.5, -2], [np.nan, np.inf]], ml_dtypes.bfloat16)
X = np.array([[1, 2, 3, 4], [0, -1, 0.5, 100]], np.float32)


def same(got: Any, expected: Array) -> None:
    """Raise AssertionError unless ``got`` has the shape, dtype and values of ``expected``. Text may
    come as bytes, as clients have it."""
    assert got is not None, "no such output"
    assert got.shape == expected.shape, (got.shape, expected.shape)
    if expected.dtype == object:
        texts = [item.decode() if isinstance(item, bytes) else item for item in got.reshape(-1)]
        assert texts == expected.reshape(-1).tolist(), texts
        return
    assert got.dtype == expected.dtype, (got.dtype, expected.dtype)
    if expected.dtype.name == "bfloat16":  # whose NaN numpy does not know
        got, expected = got.astype(np.float32), expected.astype(np.float32)
    np.testing.assert_array_equal(got, expected)
