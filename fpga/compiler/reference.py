"""A network in integers, computed plainly: NCHW, one node after the other, no engine in it."""

from __future__ import annotations

from typing import Any

import numpy as np

from fpga.compiler.graph import Add, Average, Concat, Conv, Graph, Max, Node, Window

Array = Any


def run(graph: Graph, values: Array) -> dict[str, Array]:
    """Every tensor by name, int8 [B, C, H, W], from the input int8 [B, C, H, W]."""
    found = {graph.input: np.asarray(values, np.int8)}
    for node in graph.nodes:
        found[node.target] = _compute(graph, node, found)
    return found


def requantise(total: Array, scale: Array) -> Array:
    """`rint(float32(total) * scale)` in float32, as onnxruntime has it; limited, int64."""
    product = np.asarray(total).astype(np.float32) * np.asarray(scale, np.float32)
    return np.clip(np.rint(product), -1023, 1023).astype(np.int64)


def _compute(graph: Graph, node: Node, found: dict[str, Array]) -> Array:
    target = graph.tensors[node.target]
    if isinstance(node, Add):
        a, b = (found[name].astype(np.int64) for name in (node.a, node.b))
        za, zb = (graph.tensors[name].zero_point for name in (node.a, node.b))
        exact = node.ma * (a - za) + node.mb * (b - zb)
        # numpy rounds half to even, and float64 holds these quotients exactly.
        value = np.rint(exact / float(1 << node.sh)).astype(np.int64) + target.zero_point
        return np.clip(value, node.lo, node.hi).astype(np.int8)
    if isinstance(node, Concat):
        scaled = [
            requantise(found[name].astype(np.int64) - graph.tensors[name].zero_point, scale)
            for name, scale in zip(node.parts, node.scales, strict=True)
        ]
        value = np.concatenate(scaled, axis=1) + target.zero_point
        return np.clip(value, node.lo, node.hi).astype(np.int8)
    source = graph.tensors[node.source]
    x = found[node.source].astype(np.int64)
    _, height, width = target.shape
    if isinstance(node, Max):
        value = _windows(x, node.window, height, width, -128).max(axis=(2, 3))
    elif isinstance(node, Average):
        total = _windows(x - source.zero_point, node.window, height, width, 0).sum(axis=(2, 3))
        value = requantise(total, node.scale) + target.zero_point
    else:
        total = _convolve(node, x - source.zero_point, height, width)
        scale = np.asarray(node.scale, np.float32)[None, :, None, None]
        value = requantise(total + node.bias[None, :, None, None], scale) + target.zero_point
    return np.clip(value, node.lo, node.hi).astype(np.int8)


def _windows(x: Array, window: Window, height: int, width: int, fill: int) -> Array:
    """[B, C, KH, KW, height, width]; ``fill`` outside."""
    (kh, kw), (sy, sx), (pt, pl) = window.kernel, window.strides, window.pads
    below = max(0, (height - 1) * sy + kh - pt - x.shape[2])
    right = max(0, (width - 1) * sx + kw - pl - x.shape[3])
    x = np.pad(x, ((0, 0), (0, 0), (pt, below), (pl, right)), constant_values=fill)
    found = np.empty((*x.shape[:2], kh, kw, height, width), x.dtype)
    for ky in range(kh):
        for kx in range(kw):
            found[:, :, ky, kx] = x[
                :, :, ky : ky + sy * (height - 1) + 1 : sy, kx : kx + sx * (width - 1) + 1 : sx
            ]
    return found


def _convolve(node: Conv, x: Array, height: int, width: int) -> Array:
    windows = _windows(x, node.window, height, width, 0)
    weight = node.weight.astype(np.float64)
    if node.is_depthwise:
        return np.einsum("bcklyx,ckl->bcyx", windows, weight[:, 0]).astype(np.int64)
    samples, channels, kh, kw = windows.shape[:4]
    columns = windows.reshape(samples, channels * kh * kw, height * width).astype(np.float64)
    rows = weight.reshape(len(weight), -1)
    # Whole numbers far below 2^53: float64 adds them exactly, and BLAS is quick.
    return (rows @ columns).reshape(samples, len(weight), height, width).astype(np.int64)
