"""Whole networks: the program on the emulated engine, the plain graph and onnxruntime's integer
kernels give the same int8, every value."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import pytest

from benchmarks.fpga import models
from benchmarks.fpga.oracle import Oracle
from fpga.compiler import reference
from fpga.compiler.compilation import Compiled, Options, compile_model
from fpga.emulator import EmulatedEngine
from fpga.isa.shape import LARGE, SMALL, EngineShape

Array = Any
TIGHT = EngineShape(
    n=8, rq=4, w_words=160, p_words=256, d_words=64, x_words=128, a_words=256, b_words=256
)


def emulated(compiled: Compiled, values: Array, at_once: int) -> Array:
    """int8 of the output, from real inputs, in runs of so many samples."""
    artifact = compiled.artifact
    engine = EmulatedEngine(artifact.shape)
    assert engine.send(artifact.load) == []
    payloads, found = artifact.quantise(values), []
    for at in range(0, len(values), at_once):
        (beats,) = engine.send(artifact.run_packet(payloads[at : at + at_once]))
        found.append(beats.reshape(len(payloads[at : at + at_once]), -1))
    return artifact.unpack(np.concatenate(found))


def integers(compiled: Compiled, values: Array) -> Array:
    """The graph's input, int8 [B, C, H, W]."""
    port = compiled.artifact.input
    found = np.rint(values / np.float32(port.scale)) + port.zero_point
    found = np.clip(found, -128, 127).astype(np.int8)
    return found[:, :, None, None] if found.ndim == 2 else found


CASES: list[tuple[str, Callable[[], onnx.ModelProto], Callable[[], Array], EngineShape, int]] = [
    ("digits MLP", models.digits_mlp, lambda: models.digits()[0], SMALL, 64),
    ("784-64-64-64-10", models.wide_mlp, models.digits_28, LARGE, 64),
    ("digits CNN", models.digits_cnn, lambda: models.digits()[0].reshape(-1, 1, 8, 8), SMALL, 8),
    ("ResNet-20", models.resnet_20, lambda: models.pictures(104, 3, 32), LARGE, 2),
    ("streamed", models.streamed_resnet, lambda: models.pictures(130, 3, 8), TIGHT, 3),
]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "make", "data", "shape", "at_once"), CASES, ids=[c[0] for c in CASES]
)
def test_engine_graph_and_onnxruntime_agree(
    name: str,
    make: Callable[[], onnx.ModelProto],
    data: Callable[[], Array],
    shape: EngineShape,
    at_once: int,
) -> None:
    values = data()
    compiled = compile_model(make(), values[:100], Options(shape=shape))
    rows = values[100 : 100 + (4 if name == "ResNet-20" else 30)]
    whole = integers(compiled, rows)
    plain = reference.run(compiled.graph, whole)
    theirs = Oracle(compiled.graph).run(whole)
    for node in compiled.graph.nodes:
        assert (plain[node.target] == theirs[node.target]).all(), node.name
    output = plain[compiled.graph.output]
    ours = emulated(compiled, rows, at_once)
    assert (ours.reshape(output.shape) == output).all()
    assert len(np.unique(output)) > 20  # not all zero, nor all saturated
    assert (compiled.program.blocks > 0) == (name == "streamed")
    assert compiled.report.proof.pairs_differing == 0


@pytest.mark.slow
@pytest.mark.parametrize("case", [CASES[0], CASES[1], CASES[2]], ids=["mlp", "wide", "cnn"])
def test_int8_is_as_accurate_as_float(case: Any) -> None:
    _, make, data, shape, at_once = case
    values, digits = data(), models.digits()[1]
    compiled = compile_model(make(), values[:200], Options(shape=shape))
    held_out = slice(1437, 1797)
    found = emulated(compiled, values[held_out], at_once)
    import onnxruntime as ort

    session = ort.InferenceSession(make().SerializeToString(), providers=["CPUExecutionProvider"])
    real = session.run(None, {"x": values[held_out]})[0]
    accuracy = [(each.argmax(axis=1) == digits[held_out]).mean() for each in (found, real)]
    assert accuracy[1] > 0.9
    assert accuracy[0] > accuracy[1] - 0.02
