"""Scales and zero points of a quantised model, made so that the engine's integers and onnxruntime's
float32 agree. Tensors that are added get scales with few bits and power-of-two ratios: such an Add
is exact in float32 and in the engine alike.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper

from fpga.compiler.limits import LIMITS
from fpga.compiler.view import SHAPES

Array = Any
MOST_BIAS = 1 << 22
"""Steps; sums stay below 2^24."""
SCALE_BITS = 8
"""Of the significand of scales around an Add: products with int8 and their sum stay exact."""


def fuse_limits(model: onnx.ModelProto) -> onnx.ModelProto:
    """Where a Relu or Clip alone reads what was quantised before it, it is quantised after it only:
    the engine limits what it adds or averages in the same layer."""
    made = onnx.ModelProto()
    made.CopyFrom(model)
    graph = made.graph
    readers: dict[str, list[onnx.NodeProto]] = {}
    makers = {name: node for node in graph.node for name in node.output}
    for node in graph.node:
        for name in node.input:
            readers.setdefault(name, []).append(node)
    for node in list(graph.node):
        whole = makers.get(node.input[0]) if node.op_type in LIMITS else None
        before = makers.get(whole.input[0]) if whole is not None and whole.input else None
        if whole is None or before is None:
            continue
        pair = (before.op_type, whole.op_type) == ("QuantizeLinear", "DequantizeLinear")
        alone = all(len(readers[each.output[0]]) == 1 for each in (before, whole) if pair)
        if not pair or not alone or before.input[0] not in makers:
            continue
        if makers[before.input[0]].op_type in ("DequantizeLinear", "MaxPool", *SHAPES):
            continue  # they keep the scale that comes in
        node.input[0] = before.input[0]
        graph.node.remove(before)
        graph.node.remove(whole)
    return made


def tame_biases(model: onnx.ModelProto) -> onnx.ModelProto:
    """A channel with hardly any weights has a tiny scale, in which its bias is a huge number of
    steps: its scale grows until the bias fits, and the weights lose what nobody would see."""
    made = onnx.ModelProto()
    made.CopyFrom(model)
    graph = made.graph
    constants = {each.name: each for each in graph.initializer}
    behind = {node.output[0]: node for node in graph.node if node.op_type == "DequantizeLinear"}
    for node in graph.node:
        ends = [behind.get(name) for name in node.input[1:3]]
        if node.op_type not in ("Conv", "Gemm") or len(ends) < 2 or None in ends:
            continue
        (weight, weight_scale), (bias, bias_scale) = (
            (constants.get(end.input[0]), constants.get(end.input[1])) for end in ends if end
        )
        if weight is None or weight_scale is None or bias is None or bias_scale is None:
            continue
        numbers = numpy_helper.to_array(bias).astype(np.float64)
        factor = np.ceil(np.maximum(1, np.abs(numbers) / MOST_BIAS))
        if (factor == 1).all():
            continue
        axis = 0 if node.op_type == "Conv" or _is_turned(node) else 1
        _stretch(weight, weight_scale, factor, axis)
        _stretch(bias, bias_scale, factor, 0)
    return made


def _is_turned(node: onnx.NodeProto) -> bool:
    return any(each.name == "transB" and each.i for each in node.attribute)


def _stretch(values: onnx.TensorProto, scale: onnx.TensorProto, factor: Array, axis: int) -> None:
    """The same numbers in larger steps; one scale for all grows by the largest factor."""
    old, steps = numpy_helper.to_array(values), numpy_helper.to_array(scale)
    factor = factor if steps.size == factor.size else np.full(old.shape[axis], factor.max())
    around = [1] * old.ndim
    around[axis] = -1
    new = np.rint(old / factor.reshape(around)).astype(old.dtype)
    values.CopyFrom(numpy_helper.from_array(new, values.name))
    grown = steps * (factor if steps.size == factor.size else factor.max()).astype(np.float32)
    scale.CopyFrom(
        numpy_helper.from_array(grown.reshape(steps.shape).astype(np.float32), scale.name)
    )


def harmonise(model: onnx.ModelProto) -> onnx.ModelProto:
    """Scales of tensors that meet in an Add: few bits, and powers of two apart. Each grows by less
    than a factor of two, so nothing saturates that did not. Their zero points become even, and
    those of averages: onnxruntime's QLinearAdd and QLinearAveragePool round after they have added
    the zero point, QuantizeLinear before, and halves go to the same side only with an even one."""
    made = onnx.ModelProto()
    made.CopyFrom(model)
    graph = made.graph
    quantised = {node.input[0]: node for node in graph.node if node.op_type == "QuantizeLinear"}
    behind = {node.output[0]: node for node in graph.node if node.op_type == "DequantizeLinear"}
    groups, added = _Groups(), set[str]()
    for node in graph.node:
        if node.op_type != "Add" or not all(name in behind for name in node.input):
            continue
        scales = [behind[name].input[1] for name in node.input]
        end = node.output[0]
        after = [each for each in graph.node if end in each.input]
        while len(after) == 1 and after[0].op_type in LIMITS:
            end = after[0].output[0]
            after = [each for each in graph.node if end in each.input]
        if end in quantised:
            scales.append(quantised[end].input[1])
        groups.join(scales)
        added.update(scales)
    # A MaxPool or a Reshape has one scale for what comes in and goes out, under two names.
    for node in graph.node:
        if node.op_type in ("MaxPool", *SHAPES) and node.input[0] in behind:
            names = [behind[node.input[0]].input[1]]
            if node.output[0] in quantised:
                names.append(quantised[node.output[0]].input[1])
            groups.join(names)
    _rescale(graph, groups)
    even = {name for group in groups.all() if group & added for name in group}
    for node in graph.node:
        if node.op_type == "AveragePool" and node.output[0] in quantised:
            even.add(quantised[node.output[0]].input[1])
    _make_even(graph, even)
    return made


def _make_even(graph: onnx.GraphProto, scales: set[str]) -> None:
    """The zero points that go with these scales, a step nearer to 0 where they are odd."""
    constants = {each.name: each for each in graph.initializer}
    ends = [n for n in graph.node if n.op_type in ("QuantizeLinear", "DequantizeLinear")]
    for name in {node.input[2] for node in ends if node.input[1] in scales}:
        old = numpy_helper.to_array(constants[name])
        even = np.where(old % 2 == 1, old - np.sign(old), old).astype(old.dtype)
        constants[name].CopyFrom(numpy_helper.from_array(even, name))


class _Groups:
    """Names that belong together."""

    def __init__(self) -> None:
        self._of: dict[str, set[str]] = {}

    def join(self, names: list[str]) -> None:
        whole = set(names).union(*(self._of.get(name, set()) for name in names))
        for name in whole:
            self._of[name] = whole

    def all(self) -> list[set[str]]:
        return [group for name, group in self._of.items() if name == min(group)]


def _rescale(graph: onnx.GraphProto, groups: _Groups) -> None:
    constants = {each.name: each for each in graph.initializer}
    for group in groups.all():
        values = {
            name: float(numpy_helper.to_array(constants[name]).reshape(-1)[0])
            for name in group
            if name in constants
        }
        if len(set(values.values())) < 2:
            continue
        largest = max(values.values())
        bits = math.floor(math.log2(largest)) - SCALE_BITS + 1
        unit = math.ceil(largest / 2.0**bits) * 2.0**bits
        for name, value in values.items():
            scale = unit * 2.0 ** math.ceil(math.log2(value / unit) - 1e-9)
            _replace_scale(graph, constants[name], np.float32(scale))


def _replace_scale(graph: onnx.GraphProto, tensor: onnx.TensorProto, scale: Any) -> None:
    """And the biases whose scale is made of it."""
    old = numpy_helper.to_array(tensor)
    new = np.full(old.shape, scale, np.float32)
    tensor.CopyFrom(numpy_helper.from_array(new, tensor.name))
    factor = float(new.reshape(-1)[0]) / float(old.reshape(-1)[0])
    if factor == 1.0:
        return
    constants = {each.name: each for each in graph.initializer}
    behind = {node.output[0]: node for node in graph.node if node.op_type == "DequantizeLinear"}
    for node in graph.node:
        if node.op_type not in ("Conv", "Gemm") or len(node.input) < 3:
            continue
        source, bias = behind.get(node.input[0]), behind.get(node.input[2])
        if source is None or bias is None or source.input[1] != tensor.name:
            continue
        values, scales = constants[bias.input[0]], constants[bias.input[1]]
        numbers = np.rint(numpy_helper.to_array(values) / factor).astype(np.int32)
        values.CopyFrom(numpy_helper.from_array(numbers, values.name))
        weight = numpy_helper.to_array(constants[behind[node.input[1]].input[1]])
        scales.CopyFrom(
            numpy_helper.from_array(
                (np.float32(scale) * weight)
                .astype(np.float32)
                .reshape(numpy_helper.to_array(scales).shape),
                scales.name,
            )
        )
