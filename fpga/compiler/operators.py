"""Each operator that the engine has: an ONNX node with its quantised ends as a node of a Graph."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import onnx

from fpga.compiler import addition
from fpga.compiler.constants import Constant
from fpga.compiler.graph import Add, Average, Concat, Conv, Max, Node, Tensor, Window
from fpga.compiler.onnx_file import OnnxFile, attributes, label, named
from fpga.compiler.qdq import Values
from fpga.compiler.shapes import MOST_KERNEL, going, reduced_axes
from fpga.compiler.view import View, plain, vector
from fpga.errors import ModelError

Array = Any
Made = tuple[Node, Tensor, View]
"""The view is how the model sees the tensor, where nothing reshapes it."""


@dataclass(frozen=True, slots=True)
class End:
    """What a node's result becomes: the int8 tensor ``target``, within ``lo``..``hi``."""

    target: str
    scale: float
    zero_point: int
    lo: int = -128
    hi: int = 127

    @property
    def quantisation(self) -> tuple[float, int]:
        return self.scale, self.zero_point

    @property
    def is_limited(self) -> bool:
        return (self.lo, self.hi) != (-128, 127)

    def tensor(self, shape: tuple[int, int, int]) -> Tensor:
        return Tensor(self.target, shape, self.scale, self.zero_point)


def conv(file: OnnxFile, values: Values, node: onnx.NodeProto, end: End) -> Made:
    """Conv: dense or depthwise; gaps and other groups are filled with zeros."""
    source, weight = values.picture(node, 0), values.weight(node, 1)
    if weight.values.ndim != 4:
        raise ModelError(f"{named(node)}: two-dimensional convolutions only")
    if weight.axis not in (None, 0):
        raise ModelError(f"{named(node)}: scales for each output (axis 0) only")
    found = attributes(node)
    group, channels, filters = found.get("group", 1), source.shape[0], len(weight.values)
    if group < 1 or filters % group or weight.values.shape[1] * group != channels:
        raise ModelError(
            f"{named(node)}: weights {list(weight.values.shape)} in {group} groups for"
            f" {channels} channels"
        )
    way = going(node, weight.values.shape[2:], source, may_dilate=True)
    whole = _with_gaps(weight.values, found.get("dilations", [1, 1]))
    is_depthwise = group == channels == filters and group > 1
    if not is_depthwise:
        whole = _ungrouped(whole, group)
    bias = values.bias(node, 2, source, weight, filters)
    target = end.tensor((filters, *way.sizes))
    weight = replace(weight, values=whole)
    made = _conv(node, source, weight, bias, way.window, is_depthwise, target, end)
    return made, target, plain(target)


def _with_gaps(weight: Array, dilations: list[int]) -> Array:
    """A dilated kernel as a larger one."""
    filters, inputs, kh, kw = weight.shape
    dy, dx = dilations
    whole = np.zeros((filters, inputs, (kh - 1) * dy + 1, (kw - 1) * dx + 1), np.int8)
    whole[:, :, ::dy, ::dx] = weight
    return whole


def _ungrouped(weight: Array, group: int) -> Array:
    """Filters that see all channels, and 0 of other groups'."""
    filters, inputs = weight.shape[:2]
    whole = np.zeros((filters, inputs * group, *weight.shape[2:]), np.int8)
    each = filters // group
    for at in range(group):
        place = slice(at * each, (at + 1) * each)
        whole[place, at * inputs : (at + 1) * inputs] = weight[place]
    return whole


def gemm(file: OnnxFile, values: Values, node: onnx.NodeProto, end: End) -> Made:
    """Gemm or MatMul with a constant: a kernel as large as the picture."""
    found = attributes(node)
    if found.get("alpha", 1.0) != 1 or found.get("beta", 1.0) != 1:
        raise ModelError(f"{named(node)}: alpha and beta must be 1: multiply the weights by them")
    if found.get("transA", 0):
        raise ModelError(f"{named(node)}: transA is not supported: each row is a sample")
    view, weight = values.view(node, 0), values.weight(node, 1)
    source = values.tensors[view.name]
    if weight.values.ndim == 2 and not found.get("transB", 0):
        weight = weight.turned()
    if len(view.sizes) != 1 or weight.values.shape[1:] != view.sizes:
        raise ModelError(
            f"{named(node)}: weights for {list(weight.values.shape[1:])} inputs, and samples of"
            f" {list(view.sizes)}; flatten them before"
        )
    if weight.axis not in (None, 0):
        raise ModelError(f"{named(node)}: scales for each output only")
    kernel = replace(weight, values=_in_order(weight.values, source, view))
    bias = values.bias(node, 2, source, kernel, len(kernel.values))
    target = end.tensor((len(kernel.values), 1, 1))
    window = Window((source.shape[1], source.shape[2]))
    made = _conv(node, source, kernel, bias, window, False, target, end)
    return made, target, vector(target)


def _in_order(rows: Array, source: Tensor, view: View) -> Array:
    """[O, C, H, W], of rows in the order of the model."""
    channels, height, width = source.shape
    if view.layout == "NHWC":
        return rows.reshape(len(rows), height, width, channels).transpose(0, 3, 1, 2)
    return rows.reshape(len(rows), *source.shape)


def _conv(
    node: onnx.NodeProto, source: Tensor, weight: Constant, bias: Array, window: Window,
    is_depthwise: bool, target: Tensor, end: End,
) -> Conv:  # fmt: skip
    filters = target.shape[0]
    # In this order, each step in float32: onnxruntime's QLinearConv and QGemm.
    with np.errstate(over="ignore", under="ignore"):
        scale = np.float32(source.scale) * weight.scale / np.float32(target.scale)
    if not (np.isfinite(scale).all() and (scale > 2.0**-39).all() and (scale < 2.0**22).all()):
        raise ModelError(
            f"{named(node)}: the scale of input times weight by output is"
            f" {float(scale.min()):.3g} to {float(scale.max()):.3g}; 2^-39 to 2^22 is possible"
        )
    scale = np.broadcast_to(scale.astype(np.float32), filters).copy()
    weight_scale = np.broadcast_to(weight.scale, filters).copy()
    return Conv(
        label(node), source.name, target.name, np.ascontiguousarray(weight.values), bias, scale,
        weight_scale, window, is_depthwise, end.lo, end.hi,
    )  # fmt: skip


def largest(file: OnnxFile, values: Values, node: onnx.NodeProto, end: End) -> Made:
    """MaxPool."""
    source = values.picture(node, 0)
    if end.quantisation != (source.scale, source.zero_point):
        raise ModelError(f"{named(node)}: input and output must have one scale")
    way = going(node, attributes(node).get("kernel_shape"), source, may_exceed=True)
    target = end.tensor((source.shape[0], *way.sizes))
    made = Max(label(node), source.name, end.target, way.window, end.lo, end.hi)
    return made, target, plain(target)


def average(file: OnnxFile, values: Values, node: onnx.NodeProto, end: End) -> Made:
    """AveragePool, GlobalAveragePool, ReduceMean."""
    source, found = values.picture(node, 0), attributes(node)
    channels, height, width = source.shape
    if node.op_type == "AveragePool":
        way = going(node, found.get("kernel_shape"), source)
        if way.is_padded and not found.get("count_include_pad", 0):
            raise ModelError(
                f"{named(node)}: padding that does not count: set count_include_pad, or no padding"
            )
        window, sizes = way.window, way.sizes
    else:
        if node.op_type == "ReduceMean" and sorted(reduced_axes(file, node)) != [2, 3]:
            raise ModelError(f"{named(node)}: over height and width only")
        if max(height, width) > MOST_KERNEL:
            raise ModelError(
                f"{named(node)}: over {height} x {width}, and {MOST_KERNEL} x {MOST_KERNEL} is the"
                " most: put an AveragePool before it, or strides"
            )
        window, sizes = Window((height, width)), (1, 1)
    factor = _average_factor(node, math.prod(window.kernel), source.scale, end.scale)
    if not 2.0**-39 < factor < 2.0**22:
        raise ModelError(f"{named(node)}: scales of input and output are too far apart")
    made = Average(label(node), source.name, end.target, factor, window, end.lo, end.hi)
    target = end.tensor((channels, *sizes))
    is_vector = node.op_type == "ReduceMean" and not found.get("keepdims", 1)
    return made, target, vector(target) if is_vector else plain(target)


def _average_factor(node: onnx.NodeProto, count: int, source: float, target: float) -> float:
    """Over all of a picture as onnxruntime's QLinearGlobalAveragePool has it, in float32. Windows
    it averages in float32, which no integers follow: there the nearest factor."""
    with np.errstate(all="ignore"):
        if node.op_type == "AveragePool":
            return float(np.float32(source / (target * count)))
        return float(np.float32(source) / (np.float32(target) * np.float32(count)))


def add(file: OnnxFile, values: Values, node: onnx.NodeProto, end: End) -> Made:
    """Add of two tensors of one shape."""
    views = values.view(node, 0), values.view(node, 1)
    a, b = (values.tensors[view.name] for view in views)
    if a.shape != b.shape or replace(views[0], name="") != replace(views[1], name=""):
        shapes = " and ".join(str(list(view.sizes)) for view in views)
        raise ModelError(f"{named(node)}: {shapes} cannot be added; both must have one shape")
    numbers = addition.factors(a.scale, b.scale, end.scale)
    made = Add(label(node), a.name, b.name, end.target, *numbers, end.lo, end.hi)
    return made, end.tensor(a.shape), replace(views[0], name=end.target)


def concat(file: OnnxFile, values: Values, node: onnx.NodeProto, end: End) -> Made:
    """Concat of channels."""
    views = [values.view(node, place) for place in range(len(node.input))]
    parts = [values.tensors[view.name] for view in views]
    axis = attributes(node).get("axis", 1) % (len(views[0].sizes) + 1)
    alike = {(view.layout, len(view.sizes)) for view in views}
    channels = 1 if alike != {("NHWC", 3)} else 3
    is_whole = all(
        view.is_picture(part) or part.shape == (*view.sizes, 1, 1) or channels == 3
        for view, part in zip(views, parts, strict=True)
    )
    if axis != channels or len(alike) != 1 or not is_whole:
        raise ModelError(f"{named(node)}: of channels only, before anything is flattened")
    if len({part.shape[1:] for part in parts}) != 1:
        raise ModelError(f"{named(node)}: pictures of different sizes")
    scales = tuple(float(np.float32(part.scale / end.scale)) for part in parts)
    if not all(2.0**-39 < each < 2.0**22 for each in scales):
        raise ModelError(f"{named(node)}: scales of input and output are too far apart")
    names = tuple(part.name for part in parts)
    made = Concat(label(node), names, end.target, scales, end.lo, end.hi)
    target = end.tensor((sum(part.shape[0] for part in parts), *parts[0].shape[1:]))
    if channels == 3:
        return made, target, View(end.target, (*target.shape[1:], target.shape[0]), "NHWC")
    return made, target, plain(target) if len(views[0].sizes) == 3 else vector(target)


def again(node: onnx.NodeProto, values: Values, view: View, end: End) -> Made:
    """A tensor with another scale, or within limits."""
    source = values.tensors[view.name]
    with np.errstate(all="ignore"):
        factor = float(np.float32(source.scale / end.scale))
    if not 2.0**-39 < factor < 2.0**22:
        raise ModelError(f"{named(node)}: scales of input and output are too far apart")
    made = Average(label(node), source.name, end.target, factor, Window(), end.lo, end.hi)
    return made, end.tensor(source.shape), replace(view, name=end.target)


OPERATORS: dict[str, Callable[[OnnxFile, Values, onnx.NodeProto, End], Made]] = {
    "Conv": conv, "Gemm": gemm, "MatMul": gemm, "MaxPool": largest, "AveragePool": average,
    "GlobalAveragePool": average, "ReduceMean": average, "Add": add, "Concat": concat,
}  # fmt: skip
