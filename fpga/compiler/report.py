"""What a program costs, layer by layer, and what limits it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from fpga.compiler.graph import Conv, Graph
from fpga.compiler.lowering import Layer, Program
from fpga.compiler.placement import banks_used
from fpga.compiler.proofs import Proof
from fpga.isa.descriptor import MAX
from fpga.isa.shape import BANK_A, BANK_B, BANK_X, EngineShape


@dataclass(frozen=True, slots=True)
class LayerCost:
    """``cycles``: the array's and requantisers' own, of one sample; ``utilisation``: of the array's
    N x N multipliers in these; ``limit``: what they wait for."""

    name: str
    operation: str
    macs: int
    cycles: int
    utilisation: float
    weight_bytes: int
    is_streamed: bool
    limit: str


@dataclass(frozen=True, slots=True)
class Report:
    """``words``: used and there, of each memory. ``macs``: of a sample."""

    name: str
    layers: tuple[LayerCost, ...]
    macs: int
    words: dict[str, tuple[int, int]]
    proof: Proof
    is_interleaved: bool
    latency_cycles: int
    interval_cycles: float

    def as_dict(self) -> dict[str, Any]:
        from dataclasses import asdict

        return asdict(self)


def layer_cost(graph: Graph, layer: Layer, shape: EngineShape) -> LayerCost:
    """Of one layer."""
    descriptor, operation = layer.descriptor, layer.step.operation
    taps, groups = descriptor.taps, shape.groups
    cycles = descriptor.result_words * max(taps, groups)
    macs = 0
    if isinstance(operation, Conv):
        whole = graph.macs(operation)
        channels = graph.tensors[operation.target].shape[0]
        first, count = layer.part
        lanes = min(channels, (first + count) * shape.n) - first * shape.n
        macs = whole * lanes // channels
    limit = "the array" if taps >= groups else "requantisers"
    if descriptor.kind == MAX:
        limit = "one word a clock"
    if layer.descriptor.is_streamed:
        loading = descriptor.weight_words * shape.weight_beats
        if loading > cycles:
            limit = f"weights through the stream ({loading} clocks)"
    return LayerCost(
        layer.step.name, type(operation).__name__, macs, cycles,
        macs / (cycles * shape.n * shape.n), descriptor.weight_words * shape.n * shape.n,
        descriptor.is_streamed, limit,
    )  # fmt: skip


def report(
    graph: Graph, program: Program, shape: EngineShape, proof: Proof, cycles: tuple[int, float]
) -> Report:
    """Of a whole program; cycles: latency of a sample, and interval of each further one."""
    costs = tuple(layer_cost(graph, layer, shape) for layer in program.layers)
    used = banks_used(program.places)
    entries = sum(layer.descriptor.oct for layer in program.layers) * shape.groups
    return Report(
        graph.name,
        costs,
        sum(cost.macs for cost in costs),
        {
            "W": (program.resident_words, shape.w_words),
            "P": (entries, shape.p_words),
            "D": (len(program.layers), shape.d_words),
            "X": (2 * used.get(BANK_X, 0), shape.x_words),
            "A": (used.get(BANK_A, 0), shape.a_words),
            "B": (used.get(BANK_B, 0), shape.b_words),
        },
        proof,
        program.is_interleaved,
        *cycles,
    )
