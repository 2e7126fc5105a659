"""Makes the bodies that clients send."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from scoring.oip.datatypes import datatype_of_dtype
from scoring.signature import Dim, Signature, TensorSpec

Array = NDArray[Any]


def signature_of(
    *, outputs: tuple[str, ...] = ("y",), **inputs: tuple[str, tuple[Dim, ...]]
) -> Signature:
    """``signature_of(x=("float32", ("N", 64)))``; each output is float32 [N,10]."""
    return Signature(
        tuple(TensorSpec(name, dtype, shape) for name, (dtype, shape) in inputs.items()),
        tuple(TensorSpec(name, "float32", ("N", 10)) for name in outputs),
    )


def tensor(name: str, array: Array, **more: Any) -> dict[str, Any]:
    """The JSON of one input around its data."""
    datatype = datatype_of_dtype(array.dtype)
    return {"name": name, "shape": list(array.shape), "datatype": datatype, **more}


def json_body(arrays: Mapping[str, Array], *, nested: bool = False, **more: Any) -> bytes:
    """A request with all data in JSON, flat unless ``nested``."""
    inputs = [
        tensor(name, array, data=array.tolist() if nested else array.reshape(-1).tolist())
        for name, array in arrays.items()
    ]
    return orjson.dumps({"inputs": inputs, **more})


def binary_body(arrays: Mapping[str, Array], **more: Any) -> tuple[bytes, int]:
    """A request with all data in binary, and the length of its JSON."""
    chunks = [binary(array) for array in arrays.values()]
    inputs = [
        tensor(name, array, parameters={"binary_data_size": len(chunk)})
        for (name, array), chunk in zip(arrays.items(), chunks, strict=True)
    ]
    header = orjson.dumps({"inputs": inputs, **more})
    return header + b"".join(chunks), len(header)


def binary(array: Array) -> bytes:
    """Written here a second time, from the specification."""
    if array.dtype != object:
        return array.astype(array.dtype.newbyteorder("<")).tobytes()
    return b"".join(
        len(text.encode()).to_bytes(4, "little") + text.encode() for text in array.reshape(-1)
    )


def texts(*values: str, shape: tuple[int, ...] | None = None) -> Array:
    """An array of text."""
    array = np.empty(len(values), dtype=object)
    array[:] = values
    return array.reshape(shape or (len(values),))
