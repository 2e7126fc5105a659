"""Each operator that the engine has: an ONNX node with its quantised ends as a node of a Graph."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx

from fpga.compiler import addition
from fpga.compiler.graph import Add, Average, Concat, Conv, Max, Node, Tensor, Window
from fpga.compiler.onnx_file import OnnxFile, attributes, label, named
from fpga.compiler.qdq import Constant, Values
from fpga.compiler.shapes import MOST_KERNEL, reduced_axes, window_of
from fpga.errors import ModelError

Array = Any
Made = tuple[Node, Tensor]


@dataclass(frozen=True, slots=True)
class End:
    """What a node's result becomes: the int8 tensor ``target``, within ``lo``..``hi``."""

    target: str
    scale: float
    zero_point: int
    lo: int
    hi: int

    @property
    def quantisation(self) -> tuple[float, int]:
        return self.scale, self.zero_point

    def tensor(self, shape: tuple[int, int, int]) -> Tensor:
        return Tensor(self.target, shape, self.scale, self.zero_point)


def conv(file: OnnxFile, values: Values, node: onnx.NodeProto, end: End) -> Made:
    """Conv, dense or depthwise."""
    source, weight = values.tensor(node, 0), values.weight(node, 1)
    if weight.values.ndim != 4:
        raise ModelError(f"{named(node)}: two-dimensional convolutions only")
    channels, filters = source.shape[0], len(weight.values)
    group = attributes(node).get("group", 1)
    is_depthwise = group == channels == filters and group > 1
    if group != 1 and not is_depthwise:
        raise ModelError(f"{named(node)}: {group} groups; 1, or one filter for each channel")
    window, (height, width) = window_of(node, weight.values.shape[2:], source)
    bias = values.bias(node, 2, source, weight, filters)
    target = end.tensor((filters, height, width))
    return _conv(node, source, weight, bias, window, is_depthwise, target, end)


def gemm(file: OnnxFile, values: Values, node: onnx.NodeProto, end: End) -> Made:
    """Gemm or MatMul with a constant: a kernel as large as the picture."""
    found = attributes(node)
    if found.get("alpha", 1.0) != 1 or found.get("beta", 1.0) != 1:
        raise ModelError(f"{named(node)}: alpha and beta must be 1")
    if found.get("transA", 0):
        raise ModelError(f"{named(node)}: transA is not supported")
    source, weight = values.tensor(node, 0, is_flat_fine=True), values.weight(node, 1)
    turned = weight.values if found.get("transB", 0) else weight.values.T
    if turned.ndim != 2 or turned.shape[1] != math.prod(source.shape):
        raise ModelError(
            f"{named(node)}: weights {list(weight.values.shape)} for an input of"
            f" {math.prod(source.shape)}"
        )
    # Rows of weights are in the order C, H, W.
    kernel = Constant(turned.reshape(len(turned), *source.shape), weight.scale, weight.zero_point)
    bias = values.bias(node, 2, source, weight, len(turned))
    window, target = Window(source.shape[1:]), end.tensor((len(turned), 1, 1))
    return _conv(node, source, kernel, bias, window, False, target, end)


def _conv(
    node: onnx.NodeProto, source: Tensor, weight: Constant, bias: Array, window: Window,
    is_depthwise: bool, target: Tensor, end: End,
) -> Made:  # fmt: skip
    filters = target.shape[0]
    # In this order, each step in float32: onnxruntime's QLinearConv and QGemm.
    with np.errstate(over="ignore", under="ignore"):
        scale = np.float32(source.scale) * weight.scale / np.float32(target.scale)
    if not (np.isfinite(scale).all() and (scale > 2.0**-39).all() and (scale < 2.0**22).all()):
        raise ModelError(
            f"{named(node)}: the scale of input times weight by output is"
            f" {float(scale.min()):.3g} to {float(scale.max()):.3g}; 2^-39 to 2^22 is possible"
        )
    if scale.size not in (1, filters):
        raise ModelError(f"{named(node)}: {scale.size} scales for {filters} outputs")
    scale = np.broadcast_to(scale.astype(np.float32).reshape(-1), filters).copy()
    weight_scale = np.broadcast_to(weight.scale.reshape(-1), filters).copy()
    made = Conv(
        label(node), source.name, target.name, weight.values, bias, scale, weight_scale, window,
        is_depthwise, end.lo, end.hi,
    )  # fmt: skip
    return made, target


def largest(file: OnnxFile, values: Values, node: onnx.NodeProto, end: End) -> Made:
    """MaxPool."""
    source = values.tensor(node, 0)
    if end.quantisation != (source.scale, source.zero_point):
        raise ModelError(f"{named(node)}: input and output must have one scale")
    window, (height, width) = window_of(node, attributes(node).get("kernel_shape"), source)
    made = Max(label(node), source.name, end.target, window, end.lo, end.hi)
    return made, end.tensor((source.shape[0], height, width))


def average(file: OnnxFile, values: Values, node: onnx.NodeProto, end: End) -> Made:
    """AveragePool, GlobalAveragePool, ReduceMean."""
    source = values.tensor(node, 0)
    channels, height, width = source.shape
    if node.op_type == "AveragePool":
        window, (height, width) = window_of(node, attributes(node).get("kernel_shape"), source)
        if window.pads != (0, 0) or any(attributes(node).get("pads", [])):
            raise ModelError(f"{named(node)}: without padding, please")
    else:
        if node.op_type == "ReduceMean" and sorted(reduced_axes(file, node)) != [2, 3]:
            raise ModelError(f"{named(node)}: over height and width only")
        if max(height, width) > MOST_KERNEL:
            raise ModelError(f"{named(node)}: {height} x {width}; 15 x 15 at most")
        window = Window((height, width), (1, 1))
        height = width = 1
    factor = _average_factor(node, window.kernel[0] * window.kernel[1], source.scale, end.scale)
    if not 2.0**-39 < factor < 2.0**22:
        raise ModelError(f"{named(node)}: scales of input and output are too far apart")
    made = Average(label(node), source.name, end.target, factor, window, end.lo, end.hi)
    return made, end.tensor((channels, height, width))


def _average_factor(node: onnx.NodeProto, count: int, source: float, target: float) -> float:
    """Over all of a picture as onnxruntime's QLinearGlobalAveragePool has it, in float32. Windows
    it averages in float32, which no integers follow: there the nearest factor."""
    with np.errstate(all="ignore"):
        if node.op_type == "AveragePool":
            return float(np.float32(source / (target * count)))
        return float(np.float32(source) / (np.float32(target) * np.float32(count)))


def add(file: OnnxFile, values: Values, node: onnx.NodeProto, end: End) -> Made:
    """Add of two tensors of one shape."""
    a, b = values.tensor(node, 0), values.tensor(node, 1)
    if a.shape != b.shape:
        raise ModelError(f"{named(node)}: {a.shape} and {b.shape} cannot be added")
    numbers = addition.factors(a.scale, b.scale, end.scale)
    made = Add(label(node), a.name, b.name, end.target, *numbers, end.lo, end.hi)
    return made, end.tensor(a.shape)


def concat(file: OnnxFile, values: Values, node: onnx.NodeProto, end: End) -> Made:
    """Concat of channels."""
    parts = [values.tensor(node, place) for place in range(len(node.input))]
    if attributes(node).get("axis") != 1:
        raise ModelError(f"{named(node)}: of channels (axis 1) only")
    if len({part.shape[1:] for part in parts}) != 1:
        raise ModelError(f"{named(node)}: pictures of different sizes")
    scales = tuple(float(np.float32(part.scale / end.scale)) for part in parts)
    if not all(2.0**-39 < each < 2.0**22 for each in scales):
        raise ModelError(f"{named(node)}: scales of input and output are too far apart")
    names = tuple(part.name for part in parts)
    made = Concat(label(node), names, end.target, scales, end.lo, end.hi)
    return made, end.tensor((sum(part.shape[0] for part in parts), *parts[0].shape[1:]))


OPERATORS: dict[str, Callable[[OnnxFile, Values, onnx.NodeProto, End], Made]] = {
    "Conv": conv, "Gemm": gemm, "MatMul": gemm, "MaxPool": largest, "AveragePool": average,
    "GlobalAveragePool": average, "ReduceMean": average, "Add": add, "Concat": concat,
}  # fmt: skip
