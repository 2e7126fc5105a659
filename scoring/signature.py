"""What a model takes and gives: names, dtypes and shapes of its inputs and outputs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from scoring.errors import InputError

Dim = int | str | None
"""A fixed size, a named one that can differ between requests, or one that nobody named."""


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """One input or output. ``dtype`` is numpy's name (``float32``), ``string``, or an
    extension's (``bfloat16``, ``float8_e4m3fn``, ``int4``); ``shape`` is None when unknown."""

    name: str
    dtype: str
    shape: tuple[Dim, ...] | None
    is_sequence: bool = False

    def __str__(self) -> str:
        kind = f"{self.dtype} {shape_text(self.shape)}"
        return f"a list of {kind}" if self.is_sequence else kind


@dataclass(frozen=True, slots=True)
class Signature:
    """Inputs that a request must give, those that it may give, and outputs, each in model order."""

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    optional_inputs: tuple[TensorSpec, ...] = ()

    def input(self, name: str) -> TensorSpec | None:
        """The input called ``name``, if there is one."""
        known = (*self.inputs, *self.optional_inputs)
        return next((spec for spec in known if spec.name == name), None)


def shape_text(shape: tuple[Dim, ...] | None) -> str:
    """``[N,64]``; unnamed dimensions are ``?``."""
    if shape is None:
        return "of any shape"
    return "[" + ",".join("?" if dim is None else str(dim) for dim in shape) + "]"


def check_shape(spec: TensorSpec, array: NDArray[np.generic]) -> None:
    """Raise InputError, naming expected and received shape, when ``array`` does not fit."""
    if spec.shape is None:
        return
    fits = len(spec.shape) == array.ndim and all(
        not isinstance(expected, int) or expected == received
        for expected, received in zip(spec.shape, array.shape, strict=True)
    )
    if not fits:
        raise InputError(f"input '{spec.name}' expects {spec}, got shape {shape_text(array.shape)}")
