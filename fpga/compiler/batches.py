"""Rows of inputs in the batches that a model takes: some are exported for one sample, or four."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import onnx

Array = Any
ROWS = 32


def batch_of(model: onnx.ModelProto) -> int | None:
    """How many samples the model's first input has; None: any number."""
    given = {each.name for each in model.graph.initializer}
    for value in model.graph.input:
        sizes = value.type.tensor_type.shape.dim
        if value.name not in given and sizes:
            return sizes[0].dim_value or None
    return None


def batches(rows: Array, size: int | None) -> Iterator[tuple[Array, int]]:
    """(rows, how many of them count). The last is filled up with its own rows, where all must be
    of one size."""
    step = size or ROWS
    for at in range(0, len(rows), step):
        part = rows[at : at + step]
        count = len(part)
        if size is not None and count < size:
            part = np.resize(part, (size, *part.shape[1:]))
        yield part, count
