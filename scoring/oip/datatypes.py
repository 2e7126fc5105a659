"""The protocol's datatypes and ours.

BF16 is Triton's addition. Our other dtypes (float8, int4, complex) have no name in the protocol:
they are called by our own name in capitals, and nothing can be sent or asked for in them.
"""

from __future__ import annotations

from functools import cache

import numpy as np

from scoring.errors import InputError
from scoring.signature import TensorSpec
from scoring.tensors import dtype_of

DTYPES = {
    "BOOL": "bool",
    "UINT8": "uint8",
    "UINT16": "uint16",
    "UINT32": "uint32",
    "UINT64": "uint64",
    "INT8": "int8",
    "INT16": "int16",
    "INT32": "int32",
    "INT64": "int64",
    "FP16": "float16",
    "FP32": "float32",
    "FP64": "float64",
    "BF16": "bfloat16",
    "BYTES": "string",
}
"""Our dtype for each datatype."""
_DATATYPES = {dtype: datatype for datatype, dtype in DTYPES.items()}


def datatype_of(spec: TensorSpec) -> str:
    """The protocol's name; for what has none, ours: ``FLOAT8_E4M3FN``, ``LIST_FP32``."""
    name = _DATATYPES.get(spec.dtype, spec.dtype.upper())
    return f"LIST_{name}" if spec.is_sequence else name


def element_bytes(datatype: str) -> int:
    """Bytes of one element; 0 for BYTES, whose elements differ. Raises KeyError for no datatype."""
    return 0 if datatype == "BYTES" else dtype_of(DTYPES[datatype]).itemsize


def checked_datatype(spec: TensorSpec, what: str) -> str:
    """``datatype_of``, or InputError where the protocol has no name; ``what`` is input or output"""
    datatype = datatype_of(spec)
    if datatype not in DTYPES:
        raise InputError(
            f"{what} '{spec.name}' is {spec}: the Open Inference Protocol has no datatype for it; "
            "use POST /score"
        )
    return datatype


@cache
def datatype_of_dtype(dtype: np.dtype[np.generic]) -> str | None:
    """The datatype of an array's ``dtype``, if there is one; text of any kind is BYTES."""
    if dtype.kind in "OSU":
        return "BYTES"
    return _DATATYPES.get(dtype.name)
