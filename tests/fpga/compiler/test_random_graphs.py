"""Random networks: the emulated engine, the plain graph and onnxruntime give the same int8."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from benchmarks.fpga.oracle import Oracle
from fpga.compiler import reference
from fpga.compiler.compilation import artifact_of
from fpga.compiler.graph import Add, Graph
from fpga.compiler.lowering import lower
from fpga.compiler.proofs import prove
from fpga.emulator import EmulatedEngine
from fpga.emulator.arithmetic import requantise
from fpga.errors import CapacityError, ModelError
from fpga.isa.hazard import overwritten, reads_only_padding
from fpga.isa.shape import SMALL, EngineShape
from tests.fpga.compiler.random_graphs import random_graph

Array = Any
SHAPES = {
    "8": SMALL,
    "16": EngineShape(n=16, rq=4, w_words=512, p_words=256, d_words=64,
                      x_words=256, a_words=256, b_words=256),
    "streamed": replace(SMALL, w_words=60),
}  # fmt: skip
QUICK = settings(
    max_examples=120, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True
)


def inputs(graph: Graph, samples: int) -> Array:
    shape = graph.tensors[graph.input].shape
    return np.random.default_rng(5).integers(-128, 128, (samples, *shape)).astype(np.int8)


def on_the_engine(graph: Graph, shape: EngineShape, values: Array) -> Array:
    program = lower(graph, shape)
    artifact = artifact_of(graph, program, shape)
    engine = EmulatedEngine(shape)
    assert engine.send(artifact.load) == []
    (beats,) = engine.send(artifact.run_packet(artifact.pack(values)))
    return artifact.unpack(beats.reshape(len(values), -1))


@pytest.mark.parametrize("shape", SHAPES.values(), ids=list(SHAPES))
@given(seed=st.integers(0, 100_000))
@example(seed=2364)  # a kernel as large as its picture, and padding below
@QUICK
def test_the_engine_computes_the_graph(shape: EngineShape, seed: int) -> None:
    graph = random_graph(seed)
    values = inputs(graph, 3)
    plain = reference.run(graph, values)[graph.output]
    try:
        ours = on_the_engine(graph, shape, values)
    except CapacityError:
        return
    assert (ours == plain).all()


@pytest.mark.parametrize("shape", SHAPES.values(), ids=list(SHAPES))
@given(seed=st.integers(0, 100_000), most_nodes=st.integers(1, 14))
@QUICK
def test_no_layer_writes_over_what_it_has_still_to_read(
    shape: EngineShape, seed: int, most_nodes: int
) -> None:
    # The engine would compute something, and nobody would know.
    try:
        program = lower(random_graph(seed, most_nodes), shape)
    except CapacityError as error:
        refusal = str(error)
        if "the engine cannot run" in refusal:  # it was found too late
            pytest.fail(refusal)
        return
    for layer in program.descriptors:
        assert overwritten(layer) == "", layer
        assert not (layer.releases_x and reads_only_padding(layer)), layer


def test_most_random_graphs_fit() -> None:
    fits = streamed = 0
    for seed in range(60):
        try:
            program = lower(random_graph(seed), SHAPES["streamed"])
        except CapacityError:
            continue
        fits, streamed = fits + 1, streamed + (program.blocks > 0)
    assert fits > 30
    assert streamed > 4


@given(seed=st.integers(0, 100_000))
@QUICK
def test_onnxruntime_computes_the_graph(seed: int) -> None:
    graph = random_graph(seed)
    if any(isinstance(node, Add) for node in graph.nodes):
        return  # of any scales: float32 rounds where the engine does not; see test_additions
    values = inputs(graph, 3)
    plain, theirs = reference.run(graph, values), Oracle(graph).run(values)
    for node in graph.nodes:
        assert (plain[node.target] == theirs[node.target]).all(), node


@given(seed=st.integers(0, 100_000))
@settings(QUICK, max_examples=20)
def test_random_graphs_are_proved(seed: int) -> None:
    proof = prove(random_graph(seed), most_sums=1 << 20)
    assert proof.sums <= 1 << 20
    assert proof.largest_sum < 1 << 24


def test_a_sum_that_is_rounded_otherwise_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong(total: Array, sig: Array, shift: Array) -> Array:
        """One of all sums is a step off."""
        return requantise(total, sig, shift) + (np.abs(total) == 777)

    graph = random_graph(7)
    proved = prove(graph)
    assert proved.largest_sum > 777
    monkeypatch.setattr("fpga.compiler.proofs.as_engine", wrong)
    with pytest.raises(ModelError, match="would round otherwise"):
        prove(graph)
