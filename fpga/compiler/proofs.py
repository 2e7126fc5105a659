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
from fpga.compiler.graph import Add, Average, Concat, Conv, Graph
from fpga.compiler.reference import requantise as as_float32
from fpga.emulator.arithmetic import requantise as as_engine
from fpga.errors import ModelError
from fpga.isa.parameter import split_scale

Array = Any
LIMIT = 1 << 24
CHUNK = 1 << 15  # fits a cache: four times as fast as a million at once
MOST_SUMS = 1 << 28
SATURATED = 300
"""Steps, either way, beyond which every result is the same limit."""


@dataclass(frozen=True, slots=True)
class Proof:
    """``sums``: checked one by one, of all channels. ``sums_between``: of the channels for which
    that would take too long (see `_near_ties`). ``pairs_differing``: of the Adds, each of whose
    65,536 pairs was checked against float32; 0 for models that were quantised here."""

    channels: int
    sums: int
    sums_between: int
    adds: int
    pairs_differing: int
    largest_sum: int


def prove(graph: Graph, most_sums: int = MOST_SUMS) -> Proof:
    """Raises ModelError where a sum may reach 2^24, or where the engine would round otherwise."""
    channels = sums = between = adds = differing = largest = 0
    for node in graph.nodes:
        if isinstance(node, Add):
            adds += 1
            differing += _differing(graph, node)
        elif isinstance(node, Concat):
            for part, scale in zip(node.parts, node.scales, strict=True):
                zero = graph.tensors[part].zero_point
                found = range(-128 - zero, 128 - zero)
                if not _sweep(found, np.float32(scale)):
                    raise ModelError(f"{node.name}: would round otherwise than float32")
                sums += len(found)
        elif isinstance(node, Conv | Average):
            low, high, scale = _intervals(graph, node)
            most = int(max(np.abs(low).max(), np.abs(high).max()))
            if most >= LIMIT:
                bias = int(np.abs(node.bias).max()) if isinstance(node, Conv) else 0
                way = "fewer inputs, or weights of 7 bits (reduce_range)"
                if 2 * bias > most:
                    way = f"its bias is {bias:,} steps of input times weight: larger weight scales"
                raise ModelError(
                    f"{node.name}: a sum may reach {most:,}, and float32 is exact below {LIMIT:,}:"
                    f" {way}"
                )
            largest = max(largest, most)
            channels += len(low)
            for channel in range(len(low)):
                found = _range(int(low[channel]), int(high[channel]), float(scale[channel]))
                is_swept = sums + len(found) <= most_sums
                check = _sweep if is_swept else _near_ties
                if not check(found, np.float32(scale[channel])):
                    raise ModelError(
                        f"{node.name}: channel {channel} would round otherwise than float32"
                    )
                sums += len(found) if is_swept else 0
                between += 0 if is_swept else len(found)
    return Proof(channels, sums, between, adds, differing, largest)


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


def _range(low: int, high: int, scale: float) -> range:
    """The sums that can occur and do not saturate."""
    bound = int(SATURATED / scale) + 1
    return range(max(low, -bound), min(high, bound) + 1)


def _sweep(sums: range, scale: Any) -> bool:
    """Whether the engine rounds each as float32 does. Both round -x to the negative of what they
    round x to, so magnitudes are enough."""
    least = max(0, sums.start, 1 - sums.stop)
    sums = range(least, max(1 - sums.start, sums.stop))
    return all(
        _agree(np.arange(at, min(at + CHUNK, sums.stop)), scale)
        for at in range(sums.start, sums.stop, CHUNK)
    )


def _near_ties(sums: range, scale: Any) -> bool:
    """The same, of the sums beside each m + 1/2 only.

    That is enough: |sum| < 2^24, so float32 moves a product by less than the scale, which is what
    the next sum differs by; further from a tie both round as the exact product does.
    """
    ties = (np.arange(-SATURATED - 1, SATURATED + 1) + 0.5) / float(scale)
    beside = np.floor(ties).astype(np.int64)[:, None] + np.arange(-2, 4)
    return _agree(beside[(beside >= sums.start) & (beside < sums.stop)], scale)


def _agree(total: Array, scale: Any) -> bool:
    sig, shift = split_scale(scale)
    return np.array_equal(as_engine(total, sig, shift), as_float32(total, scale))


def _differing(graph: Graph, node: Add) -> int:
    a, b, out = (graph.tensors[name] for name in (node.a, node.b, node.target))
    return differing_pairs(
        (a.scale, b.scale, out.scale),
        (a.zero_point, b.zero_point, out.zero_point),
        (node.ma, node.mb, node.sh),
    )
