"""What a program costs, layer by layer, and what limits it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from fpga.compiler.accuracy import Accuracy
from fpga.compiler.graph import Conv, Graph
from fpga.compiler.lowering import Layer, Program
from fpga.compiler.placement import banks_used
from fpga.compiler.proofs import Proof
from fpga.isa.descriptor import MAX
from fpga.isa.shape import BANK_A, BANK_B, BANK_X, EngineShape
from fpga.timing import Prediction, Slot


@dataclass(frozen=True, slots=True)
class LayerCost:
    """``cycles``: the array's and requantisers' own, of one sample; ``utilisation``: of the array's
    N x N multipliers in these; ``limit``: what they wait for; ``first``, ``last``: the clocks of a
    single run in which the layer began and issued its last read."""

    name: str
    operation: str
    macs: int
    cycles: int
    utilisation: float
    weight_bytes: int
    is_streamed: bool
    limit: str
    first: int
    last: int


@dataclass(frozen=True, slots=True)
class Report:
    """``words``: used and there, of each memory. ``macs``: of a sample. ``utilisation``: of the
    multipliers, over the interval in which samples follow each other."""

    name: str
    layers: tuple[LayerCost, ...]
    macs: int
    words: dict[str, tuple[int, int]]
    proof: Proof
    is_interleaved: bool
    latency_cycles: int
    interval_cycles: float
    utilisation: float
    load_bytes: int
    stream_bytes: int
    accuracy: Accuracy | None

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


def _layer_cost(graph: Graph, layer: Layer, shape: EngineShape, slot: Slot) -> LayerCost:
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
        descriptor.is_streamed, limit, slot.first, slot.last,
    )  # fmt: skip


def report(
    graph: Graph, program: Program, shape: EngineShape, proof: Proof, timing: Prediction,
    interval_cycles: float, accuracy: Accuracy | None,
) -> Report:  # fmt: skip
    """Of a whole program; timing: of a run of one sample."""
    costs = tuple(
        _layer_cost(graph, layer, shape, slot)
        for layer, slot in zip(program.layers, timing.slots, strict=True)
    )
    used = banks_used(program.places)
    entries = sum(layer.descriptor.oct for layer in program.layers) * shape.groups
    macs = sum(cost.macs for cost in costs)
    words = {
        "W": (program.resident_words, shape.w_words),
        "P": (entries, shape.p_words),
        "D": (len(program.layers), shape.d_words),
        "X": (2 * used.get(BANK_X, 0), shape.x_words),
        "A": (used.get(BANK_A, 0), shape.a_words),
        "B": (used.get(BANK_B, 0), shape.b_words),
    }
    return Report(
        graph.name, costs, macs, words, proof, program.is_interleaved, timing.cycles,
        interval_cycles, macs / (interval_cycles * shape.n * shape.n), program.load.nbytes,
        program.stream.nbytes, accuracy,
    )  # fmt: skip
