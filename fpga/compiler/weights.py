"""Weights and parameters as words of the engine (docs/reference/fpga-engine.md, sections 1, 2)."""

from __future__ import annotations

from typing import Any

import numpy as np

from fpga.compiler.graph import Average, Conv, Tensor
from fpga.compiler.steps import Step
from fpga.isa.parameter import encode_parameters

Array = Any


def tiles(channels: int, n: int) -> int:
    """Words for a pixel of so many channels."""
    return -(-channels // n)


def dense(weight: Array, n: int) -> Array:
    """int8 [O, I, KH, KW] to words [OCT * KH * KW * ICT, N, N], in the order of the loops."""
    outputs, inputs, kh, kw = weight.shape
    oct_, ict = tiles(outputs, n), tiles(inputs, n)
    whole = np.zeros((oct_ * n, ict * n, kh, kw), np.int8)
    whole[:outputs, :inputs] = weight
    split = whole.reshape(oct_, n, ict, n, kh, kw).transpose(0, 4, 5, 2, 1, 3)
    return np.ascontiguousarray(split).reshape(-1, n, n)


def depthwise(weight: Array, n: int) -> Array:
    """int8 [C, 1, KH, KW] to words [CT * KH * KW, N, N]: each lane sees only itself."""
    channels, _, kh, kw = weight.shape
    ct = tiles(channels, n)
    whole = np.zeros((ct * n, kh, kw), np.int8)
    whole[:channels] = weight[:, 0]
    found = np.zeros((ct, kh, kw, n, n), np.int8)
    lanes = np.arange(n)
    found[..., lanes, lanes] = whole.reshape(ct, n, kh, kw).transpose(0, 2, 3, 1)
    return found.reshape(-1, n, n)


def identity(n: int) -> Array:
    """One word that passes a word through."""
    return np.eye(n, dtype=np.int8)[None]


def words(step: Step, n: int) -> Array | None:
    """Of a step with weights of its own; None where it has none or the identity."""
    operation = step.operation
    if not isinstance(operation, Conv):
        return None
    return depthwise(operation.weight, n) if operation.is_depthwise else dense(operation.weight, n)


def parameters(step: Step, source: Tensor, between: Tensor, n: int) -> Array:
    """uint64 [OCT * N] of a step's channels; lanes beyond the last channel get 0."""
    channels = between.shape[0]
    operation = step.operation
    if isinstance(operation, Conv):
        zero = source.zero_point * operation.weight.astype(np.int64).sum(axis=(1, 2, 3))
        bias, scale = operation.bias - zero, operation.scale
    elif isinstance(operation, Average):
        count = operation.window.kernel[0] * operation.window.kernel[1]
        bias = np.full(channels, -source.zero_point * count, np.int64)
        scale = np.full(channels, operation.scale, np.float32)
    else:
        # As it is: z1 adds the zero point that bias takes off.
        zero_point = 0 if step.residual is None else between.zero_point
        bias = np.full(channels, -zero_point, np.int64)
        scale = np.ones(channels, np.float32)
    found = np.zeros(tiles(channels, n) * n, np.uint64)
    found[:channels] = encode_parameters(bias, scale)
    return found
