"""Quantised constants: weights and biases, and the scales of activations."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, numpy_helper

from fpga.compiler.onnx_file import OnnxFile, attributes, named
from fpga.errors import ModelError

Array = Any
UNSIGNED_ZERO = -128
"""uint8 is int8 with everything 128 higher, the zero point too."""


@dataclass(frozen=True, slots=True)
class Constant:
    """An initialiser behind a DequantizeLinear. ``axis``: which one has a scale for each place;
    None: one scale for all."""

    values: Array
    scale: Array
    axis: int | None = None

    def turned(self) -> Constant:
        """A matrix with rows for columns."""
        axis = None if self.axis is None else 1 - self.axis
        return replace(self, values=self.values.T, axis=axis)


def scale_of(file: OnnxFile, node: onnx.NodeProto) -> tuple[float, int]:
    """Scale and zero point, as int8, of a QuantizeLinear or DequantizeLinear of an activation."""
    scale = file.array(node.input[1], node)
    if scale.size != 1:
        raise ModelError(f"{named(node)}: activations have one scale each; quantise per tensor")
    value = float(scale.astype(np.float32).reshape(-1)[0])
    if not (math.isfinite(value) and value > 0):
        raise ModelError(f"{named(node)}: a scale that is not positive and finite")
    return value, _zero_of(file, node)


def _zero_of(file: OnnxFile, node: onnx.NodeProto) -> int:
    if len(node.input) > 2 and node.input[2]:
        array = file.array(node.input[2], node)
        if array.dtype not in (np.int8, np.uint8):
            raise ModelError(f"{named(node)}: activations are int8 or uint8, not {array.dtype}")
        return int(array.reshape(-1)[0]) + (UNSIGNED_ZERO if array.dtype == np.uint8 else 0)
    if node.op_type == "DequantizeLinear" and node.input[0] in file.producers:
        # Of the type that its QuantizeLinear gives.
        maker = file.producers[node.input[0]]
        if len(maker.input) > 2 and maker.input[2]:
            is_unsigned = file.array(maker.input[2], maker).dtype == np.uint8
            return UNSIGNED_ZERO if is_unsigned else 0
        node = maker
    kind = attributes(node).get("output_dtype", 0)
    if kind not in (0, TensorProto.UINT8, TensorProto.INT8):
        raise ModelError(f"{named(node)}: activations are int8 or uint8")
    return 0 if kind == TensorProto.INT8 else UNSIGNED_ZERO


def dequantised_constant(file: OnnxFile, node: onnx.NodeProto) -> Constant:
    """Weights or a bias."""
    values = file.array(node.input[0], node)
    scale = file.array(node.input[1], node).astype(np.float32)
    if values.dtype not in (np.int8, np.uint8, np.int32):
        raise ModelError(
            f"{named(node)}: weights are int8 and biases int32, not {values.dtype}: quantise with"
            " symmetric int8 weights"
        )
    axis = attributes(node).get("axis", 1) % max(1, values.ndim)
    if len(node.input) > 2 and node.input[2]:
        values = _centred(node, values, file.array(node.input[2], node), axis)
    elif values.dtype == np.uint8:
        values = _centred(node, values, np.zeros((), np.uint8), axis)
    if not (np.isfinite(scale).all() and (scale > 0).all()):
        raise ModelError(f"{named(node)}: a scale that is not positive and finite")
    if scale.size == 1:
        return Constant(values, scale.reshape(()))
    if scale.ndim != 1 or attributes(node).get("block_size", 0) or scale.size != values.shape[axis]:
        raise ModelError(f"{named(node)}: one scale, or one for each output; no blocks")
    return Constant(values, scale, axis)


def _centred(node: onnx.NodeProto, values: Array, zero: Array, axis: int) -> Array:
    """Without its zero point, where what is left fits: 7 bits always do."""
    if zero.size > 1:
        around = [1] * values.ndim
        around[axis] = -1
        zero = zero.reshape(around)
    else:
        zero = zero.reshape(())
    if values.dtype == np.int32 and not zero.any():
        return values
    whole = values.astype(np.int64) - zero.astype(np.int64)
    if values.dtype == np.int32 or whole.min(initial=0) < -128 or whole.max(initial=0) > 127:
        raise ModelError(
            f"{named(node)}: weights must be symmetric (zero point 0): quantise with symmetric int8"
            " weights"
        )
    return whole.astype(np.int8)


def quantised_constant(file: OnnxFile, node: onnx.NodeProto) -> onnx.TensorProto:
    """Weights that are stored as float32 before their QuantizeLinear."""
    values, scale = (file.array(name, node).astype(np.float32) for name in node.input[:2])
    is_signed = attributes(node).get("output_dtype", 0) == TensorProto.INT8
    zero = np.zeros(1, np.int8 if is_signed else np.uint8)
    if len(node.input) > 2 and node.input[2]:
        zero = file.array(node.input[2], node)
    if zero.dtype != np.int8 or not np.isfinite(values).all() or not (scale > 0).all():
        raise ModelError(f"{named(node)}: finite weights to int8 only")
    if scale.size > 1:
        around = [1] * values.ndim
        around[attributes(node).get("axis", 1) % values.ndim] = -1
        scale, zero = scale.reshape(around), zero.reshape(around if zero.size > 1 else ())
    whole = np.rint(values / scale) + zero
    return numpy_helper.from_array(np.clip(whole, -128, 127).astype(np.int8), node.output[0])
