"""A factor and a term for each channel, in a float model: BatchNormalization, and Mul, Div, Add and
Sub of a constant. They become part of the Conv or Gemm beside them, or one of their own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx

from fpga.compiler.float_graph import FloatGraph, make
from fpga.compiler.onnx_file import attributes

Array = Any
ARITHMETIC = ("Mul", "Div", "Add", "Sub")
KINDS = ("BatchNormalization", *ARITHMETIC)
MOST_DIAGONAL = 1024


@dataclass(frozen=True, slots=True)
class Affine:
    """``factor * x + term``, float64 of each channel."""

    source: str
    factor: Array
    term: Array


def fold_affine(graph: FloatGraph) -> None:
    """All that are found, each with those that follow it. What is too large for float32 stays."""
    with np.errstate(all="ignore"):
        _fold(graph)


def _fold(graph: FloatGraph) -> None:
    for node in graph.nodes:
        if node not in graph.nodes:  # it was part of an earlier one
            continue
        found = read(graph, node)
        if found is None:
            continue
        chain = [node]
        while (after := graph.only_reader(chain[-1].output[0])) is not None:
            more = read(graph, after)
            if more is None or more.source != chain[-1].output[0]:
                break
            term = more.factor * found.term + more.term
            found = Affine(found.source, more.factor * found.factor, term)
            chain.append(after)
        _put(graph, found, chain)


def read(graph: FloatGraph, node: onnx.NodeProto) -> Affine | None:
    """What a node does, where it is that and no more."""
    if node.op_type not in KINDS or not node.input:
        return None
    if node.op_type == "BatchNormalization":
        return _normalisation(graph, node)
    for place in (0, 1):
        source, values = node.input[1 - place], graph.constant(node.input[place])
        sizes = graph.sizes(source)
        if values is None or sizes is None or graph.constant(source) is not None:
            continue
        channel = _by_channel(np.asarray(values, np.float64), sizes)
        if channel is None or (node.op_type == "Div" and (place == 0 or not channel.all())):
            return None
        one, none = np.ones(len(channel)), np.zeros(len(channel))
        if node.op_type in ("Mul", "Div"):
            return Affine(source, channel if node.op_type == "Mul" else 1 / channel, none)
        if node.op_type == "Add":
            return Affine(source, one, channel)
        return Affine(source, one, -channel) if place == 1 else Affine(source, -one, channel)
    return None


def _normalisation(graph: FloatGraph, node: onnx.NodeProto) -> Affine | None:
    constants = [graph.constant(name) for name in node.input[1:5]]
    if len(node.output) != 1 or any(each is None for each in constants):
        return None
    gamma, beta, mean, variance = (np.asarray(each, np.float64) for each in constants)
    factor = gamma / np.sqrt(variance + attributes(node).get("epsilon", 1e-5))
    return Affine(node.input[0], factor, beta - mean * factor)


def _by_channel(values: Array, sizes: tuple[int, ...]) -> Array | None:
    """[C], where the constant is the same for all pixels of a channel."""
    if values.size == 1:
        return np.broadcast_to(values.reshape(-1), sizes[0])
    whole = values.reshape((1,) * (len(sizes) + 1 - values.ndim) + values.shape)
    is_channel = len(whole.shape) == len(sizes) + 1 and whole.shape[1] == sizes[0] == whole.size
    return whole.reshape(-1) if is_channel else None


def _put(graph: FloatGraph, found: Affine, chain: list[onnx.NodeProto]) -> None:
    sizes, end = graph.sizes(found.source), chain[-1].output[0]
    if sizes is None or len(found.factor) != sizes[0] or not _is_finite(found):
        return
    before = graph.maker(found.source)
    if before is not None and graph.only_reader(found.source) is not None:
        new = _after_weights(graph, before, found, end)
        if new is not None:
            graph.replace([before, *chain], [new])
            return
    after = graph.only_reader(end)
    if after is not None and len(sizes) == 1 and after.input[0] == end:
        new = _before_weights(graph, after, found)
        if new is not None:
            graph.replace([*chain, after], [new])
            return
    alone = _alone(graph, found, sizes, end, chain[0].name or end)
    if alone is not None:
        graph.replace(chain, [alone])


def _is_finite(found: Affine) -> bool:
    parts = (np.asarray(each, np.float32) for each in (found.factor, found.term))
    return all(bool(np.isfinite(each).all()) for each in parts)


def _weights(graph: FloatGraph, node: onnx.NodeProto) -> tuple[Array, Array] | None:
    """float64 [O, I, ..] and [O], of a Conv or a plain Gemm or MatMul with constants."""
    if node.op_type not in ("Conv", "Gemm", "MatMul"):
        return None
    weight, more = graph.constant(node.input[1]), attributes(node)
    plain = more.get("alpha", 1.0) == 1 == more.get("beta", 1.0) and not more.get("transA", 0)
    if weight is None or not plain or (node.op_type != "Conv" and weight.ndim != 2):
        return None
    if node.op_type != "Conv" and not more.get("transB", 0):
        weight = weight.T
    bias: Array | None = np.zeros(len(weight))
    if len(node.input) > 2 and node.input[2]:
        bias = graph.constant(node.input[2])
    if bias is None or bias.size != len(weight):
        return None
    return weight.astype(np.float64), bias.reshape(-1).astype(np.float64)


def _made(
    graph: FloatGraph, like: onnx.NodeProto, source: str, weight: Array, bias: Array, end: str
) -> onnx.NodeProto:
    inputs = [source, *(graph.add_constant(each.astype(np.float32)) for each in (weight, bias))]
    if like.op_type == "Conv":
        return make("Conv", inputs, end, like.name or end, **attributes(like))
    return make("Gemm", inputs, end, like.name or end, transB=1)


def _after_weights(
    graph: FloatGraph, node: onnx.NodeProto, found: Affine, end: str
) -> onnx.NodeProto | None:
    """The operator before, with other weights."""
    parts = _weights(graph, node)
    if parts is None or len(parts[0]) != len(found.factor):
        return None
    weight = parts[0] * found.factor.reshape(-1, *[1] * (parts[0].ndim - 1))
    return _made(graph, node, node.input[0], weight, parts[1] * found.factor + found.term, end)


def _before_weights(
    graph: FloatGraph, node: onnx.NodeProto, found: Affine
) -> onnx.NodeProto | None:
    """The Gemm after, with other weights. Not a Conv: what it pads with is 0 before it."""
    parts = _weights(graph, node) if node.op_type != "Conv" else None
    if parts is None or parts[0].shape[1] != len(found.factor):
        return None
    weight, bias = parts[0] * found.factor, parts[1] + parts[0] @ found.term
    return _made(graph, node, found.source, weight, bias, node.output[0])


def _alone(
    graph: FloatGraph, found: Affine, sizes: tuple[int, ...], end: str, name: str
) -> onnx.NodeProto | None:
    """A Conv of each channel by itself, or a diagonal Gemm."""
    bias = graph.add_constant(found.term.astype(np.float32))
    if len(sizes) == 3:
        weight = graph.add_constant(found.factor.astype(np.float32).reshape(-1, 1, 1, 1))
        return make("Conv", [found.source, weight, bias], end, name, group=sizes[0],
                    kernel_shape=[1, 1])  # fmt: skip
    if len(sizes) == 1 and sizes[0] <= MOST_DIAGONAL:
        weight = graph.add_constant(np.diag(found.factor).astype(np.float32))
        return make("Gemm", [found.source, weight, bias], end, name)
    return None
