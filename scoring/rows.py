"""Rows of tensors: how many a request has, which requests fit into one batch, and the way back.

A model merges where every input and every output has a first dimension of free size, and where it
was seen to be row by row: a row's outputs are the same alone and among others.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scoring.signature import Signature, TensorSpec
from scoring.tensors import dtype_of

Tensors = Mapping[str, Any]
"""Values by input or output name: numpy arrays, lists of them for sequences, None for absent."""

RELATIVE, OF_LARGEST = 1e-3, 1e-5
"""How much a float may differ between a run alone and a run among others, of itself and of the
largest beside it: kernels add up in another order; anything row-dependent differs by far more."""


def obstacle(signature: Signature) -> str | None:
    """Why requests for a model of this signature can never be merged; None when they may."""
    if not signature.inputs:
        return "the model has no inputs"
    for spec in (*signature.inputs, *signature.outputs):
        if spec.is_sequence or spec.dtype == "map":
            return f"'{spec.name}' is no plain tensor"
        if not spec.shape or isinstance(spec.shape[0], int):
            return f"the first dimension of '{spec.name}' is fixed"
    firsts = {spec.shape[0] for spec in signature.inputs if spec.shape}
    if len(firsts) > 1:
        return "the inputs' first dimensions have different names"
    return None


def rows_of(inputs: Tensors) -> int:
    """Rows of a request: the first dimension of its first input; 1 for anything without."""
    for value in inputs.values():
        try:
            return value.shape[0] or 1
        except (AttributeError, IndexError):
            return 1
    return 1


def size_of(inputs: Tensors) -> float:
    """Bytes of numbers and characters of text; infinite where there is no telling."""
    size = 0.0
    for value in inputs.values():
        if not isinstance(value, np.ndarray):
            return float("inf")
        size += value.nbytes if value.dtype.kind != "O" else sum(map(len, value.flat))
    return size


def key_of(inputs: Tensors) -> Hashable:
    """Equal for requests that can share a batch; None for one that cannot share any."""
    if len(inputs) == 1:
        ((name, value),) = inputs.items()
        shape = value.shape
        return (name, value.dtype.char, shape[1:]) if shape[0] else None
    parts: list[Hashable] = []
    rows = None
    for name, value in inputs.items():
        shape = value.shape
        if not shape or not shape[0] or (rows is not None and rows != shape[0]):
            return None
        rows = shape[0]
        parts.append((name, value.dtype.char, shape[1:]))
    return tuple(parts)


def merged(batch: Sequence[Tensors]) -> dict[str, NDArray[Any]]:
    """The batch's inputs, one request's rows after the other's."""
    return {name: np.concatenate([inputs[name] for inputs in batch]) for name in batch[0]}


def fits(outputs: Tensors, rows: int) -> bool:
    """Whether every output has one entry for each row."""
    return all(value.ndim > 0 and value.shape[0] == rows for value in outputs.values())


def made_up(spec: TensorSpec, rows: int, seed: int, *, free: int = 1) -> NDArray[Any] | None:
    """Values to try a model with, [rows, ...]; None where we know of none. Integers are 0 and 1,
    which most embeddings know; free inner dimensions have the size ``free``."""
    if spec.is_sequence or spec.shape is None:
        return None
    inner = [dim if isinstance(dim, int) else free for dim in spec.shape[1:]]
    shape = [rows, *inner] if spec.shape else []
    random = np.random.default_rng(seed)
    if spec.dtype == "string" or spec.dtype == "bool" or "int" in spec.dtype:
        bits = random.integers(0, 2, shape)
        if rows > 1 and spec.shape:  # by chance alone, whole columns have nothing but ones
            bits = bits[:1] ^ (np.arange(rows) % 3 > 0).reshape(-1, *(1 for _ in inner))
        return bits.astype(str).astype(object) if spec.dtype == "string" else _cast(bits, spec)
    values = random.standard_normal(shape)
    return _cast(np.abs(values) if spec.dtype in _POSITIVE else values, spec)


_POSITIVE = frozenset({"float8_e8m0fnu"})


def _cast(values: Any, spec: TensorSpec) -> NDArray[Any]:
    cast: NDArray[Any] = np.asarray(values).astype(dtype_of(spec.dtype))
    return cast


def same(first: Tensors, second: Tensors) -> bool:
    """Whether two answers mean the same."""
    return all(_same_values(first[name], second[name]) for name in first)


def _same_values(first: Any, second: Any) -> bool:
    if first.shape != second.shape or first.dtype != second.dtype:
        return False
    if first.dtype.kind == "f":
        largest = np.abs(second[np.isfinite(second)]).max(initial=0.0)
        return bool(
            np.allclose(first, second, RELATIVE, OF_LARGEST * float(largest), equal_nan=True)
        )
    return bool(np.array_equal(first, second))
