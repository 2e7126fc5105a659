"""What a request must send for one input of a model, worked out once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scoring.errors import InputError
from scoring.json_codec.exact import MAX_DIMS
from scoring.oip.datatypes import DTYPES, datatype_of, element_bytes
from scoring.signature import TensorSpec, shape_text
from scoring.tensors import dtype_of

Array = NDArray[Any]
MAX_SIZE = 2**31
"""No dimension is this long: more could not be addressed, whatever else the shape says."""
_PACKED = {
    **{"bool": "?", "uint8": "B", "uint16": "H", "uint32": "I", "uint64": "Q", "int8": "b"},
    **{"int16": "h", "int32": "i", "int64": "q", "float16": "e", "float32": "f", "float64": "d"},
}


class Expected:
    """One input: ``datatype`` is the protocol's, ``dtype`` numpy's, ``packed`` the letter of
    ``struct`` (empty where it has none), ``kind`` numpy's letter for the numbers (``O`` text)."""

    __slots__ = ("datatype", "dtype", "item_bytes", "kind", "name", "packed", "shape", "spec")

    def __init__(self, spec: TensorSpec) -> None:
        self.spec = spec
        self.name = spec.name
        self.datatype = datatype_of(spec)
        self.shape = spec.shape
        self.dtype = dtype_of(spec.dtype)
        self.packed = _PACKED.get(spec.dtype, "")
        self.kind = "f" if self.datatype == "BF16" else self.dtype.kind
        self.item_bytes = element_bytes(self.datatype) if self.is_standard else 0

    def __str__(self) -> str:
        return f"{self.datatype} {shape_text(self.shape)}"

    @property
    def is_standard(self) -> bool:
        """Whether the protocol can carry it at all."""
        return self.datatype in DTYPES

    def check(self, datatype: str, shape: Sequence[int]) -> int:
        """How many elements ``shape`` has. Raises InputError when it does not fit, or when
        ``datatype`` does not."""
        expected = self.shape
        if datatype != self.datatype or (expected is not None and len(expected) != len(shape)):
            raise self.misfit(f"{datatype[:20]} {received(shape)}")
        if len(shape) > MAX_DIMS:
            raise self.misfit(f"more than {MAX_DIMS} dimensions")
        size = 1
        for position, length in enumerate(shape):
            wanted = expected[position] if expected is not None else None
            if (length != wanted and type(wanted) is int) or not 0 <= length < MAX_SIZE:
                raise self.misfit(f"{datatype} {received(shape)}")
            size *= length
        return size

    def shaped(self, array: Array, shape: Sequence[int]) -> Array:
        """``array`` in ``shape``, which has as many elements. Raises InputError where numpy cannot
        hold such a shape: no elements, and sizes whose product is beyond any memory."""
        try:
            return array.reshape(shape)
        except ValueError:
            raise InputError(f"input '{self.name}': shape {received(shape)} is too large") from None

    def empty(self, shape: Sequence[int]) -> Array:
        """The array of no elements in ``shape``."""
        return self.shaped(np.empty(0, self.dtype), shape)

    def misfit(self, got: str) -> InputError:
        """The error that says: this is expected, ``got`` was sent."""
        return InputError(f"input '{self.name}' expects {self}, got {got}")


def received(shape: Sequence[int]) -> str:
    """``[2,64]``, cut where it would be a page."""
    if len(shape) > MAX_DIMS:
        return f"a shape of {len(shape)} dimensions"
    text = ",".join(str(size) if abs(size) < 2**63 else "..." for size in shape)
    return f"[{text}]" if len(text) < 100 else f"[{text[:100]}...]"
