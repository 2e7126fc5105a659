"""What is proved of a compiled network, channel by channel, before it runs anywhere.

Range: no sum that can occur reaches 2^24, where float32 would begin to round it. Requantiser: for
every sum that can occur, the engine's integers give what float32 gives. Sums are an interval of
whole numbers for each channel, found from the weights and what their inputs can be.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from fpga.compiler.addition import differing_pairs
from fpga.compiler.graph import Add, Average, Conv, Graph
from fpga.compiler.reference import requantise as as_float32
from fpga.emulator.arithmetic import requantise as as_engine
from fpga.errors import ModelError
from fpga.isa.parameter import split_scale

Array = Any
LIMIT = 1 << 24
CHUNK = 1 << 20


@dataclass(frozen=True, slots=True)
class Proof:
    """``sums``: checked, of all channels. ``pairs_differing``: of the Adds, each of whose 65,536
    pairs was checked against float32; 0 for models that were quantised here."""

    channels: int
    sums: int
    adds: int
    pairs_differing: int
    largest_sum: int


def prove(graph: Graph) -> Proof:
    """Raises ModelError where a sum may reach 2^24, or where the engine would round otherwise."""
    channels = sums = adds = differing = largest = 0
    for node in graph.nodes:
        if isinstance(node, Add):
            adds += 1
            differing += _differing(graph, node)
        elif isinstance(node, Conv | Average):
            low, high, scale = _intervals(graph, node)
            most = int(max(np.abs(low).max(), np.abs(high).max()))
            if most >= LIMIT:
                raise ModelError(
                    f"{node.name}: a sum may reach {most:,}, and float32 is exact below {LIMIT:,}:"
                    " fewer inputs, or weights of 7 bits (reduce_range)"
                )
            largest = max(largest, most)
            channels += len(low)
            sums += _sweep(node.name, low, high, scale)
    return Proof(channels, sums, adds, differing, largest)


def _intervals(graph: Graph, node: Conv | Average) -> tuple[Array, Array, Array]:
    """(lowest, highest) sum of each channel, and its scale."""
    zero = graph.tensors[node.source].zero_point
    least, most = -128 - zero, 127 - zero
    if isinstance(node, Average):
        count = node.window.kernel[0] * node.window.kernel[1]
        return np.array([least * count]), np.array([most * count]), np.array([node.scale])
    weight = node.weight.astype(np.int64).reshape(len(node.weight), -1)
    above, below = np.maximum(weight, 0).sum(axis=1), np.minimum(weight, 0).sum(axis=1)
    return (
        node.bias + above * least + below * most,
        node.bias + above * most + below * least,
        node.scale,
    )


def _sweep(name: str, low: Array, high: Array, scale: Array) -> int:
    """Every sum of every channel where the result is not saturated on both ways."""
    count = 0
    sig, shift = split_scale(scale)
    for channel in range(len(low)):
        # Beyond +-300 steps both saturate: there the order of things decides, not rounding.
        bound = int(300 / max(float(scale[channel]), 1e-12)) + 1
        first, last = max(int(low[channel]), -bound), min(int(high[channel]), bound)
        for at in range(first, last + 1, CHUNK):
            total = np.arange(at, min(at + CHUNK, last + 1))
            ours = as_engine(total, sig[channel], shift[channel])
            if not np.array_equal(ours, as_float32(total, scale[channel])):
                raise ModelError(f"{name}: channel {channel} would round otherwise than float32")
        count += max(0, last - first + 1)
    return count


def _differing(graph: Graph, node: Add) -> int:
    a, b, out = (graph.tensors[name] for name in (node.a, node.b, node.target))
    return differing_pairs(
        (a.scale, b.scale, out.scale),
        (a.zero_point, b.zero_point, out.zero_point),
        (node.ma, node.mb, node.sh),
    )
