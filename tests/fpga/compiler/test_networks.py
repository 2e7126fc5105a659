"""Whole networks: the program on the emulated engine, the plain graph and onnxruntime's integer
kernels give the same int8, every value."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import onnx
import pytest

from benchmarks.fpga import models
from benchmarks.fpga.oracle import Oracle
from fpga.compiler import reference
from fpga.compiler.accuracy import integers
from fpga.compiler.compilation import Compiled, Options, compile_model
from fpga.emulator import EmulatedEngine
from fpga.isa.shape import LARGE, SMALL, EngineShape
from tests.fpga.compiler.test_import import as_it_is

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


CASES: list[tuple[str, Callable[[], onnx.ModelProto], Callable[[], Array], EngineShape, int]] = [
    ("digits MLP", models.digits_mlp, lambda: models.digits()[0], SMALL, 64),
    ("784-64-64-64-10", models.wide_mlp, models.digits_28, LARGE, 64),
    ("digits CNN", models.digits_cnn, lambda: models.digits()[0].reshape(-1, 1, 8, 8), SMALL, 8),
    ("ResNet-20", models.resnet_20, lambda: models.pictures(104, 3, 32), LARGE, 2),
    ("streamed", models.streamed_resnet, lambda: models.pictures(130, 3, 8), TIGHT, 3),
]


NAMES = [case[0] for case in CASES]


@cache
def compiled_case(name: str) -> tuple[Compiled, Array]:
    """The network, calibrated with 100 rows, and all rows. In runs of CASES' last number."""
    _, make, data, shape, _ = CASES[NAMES.index(name)]
    values = data()
    held_out = None
    if len(values) == len(models.digits()[1]):  # 1,437 were trained on
        held_out = values[1437:], models.digits()[1][1437:]
    return compile_model(make(), values[:100], Options(shape=shape), held_out), values


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_engine_graph_and_onnxruntime_agree(name: str) -> None:
    compiled, values = compiled_case(name)
    rows = values[100 : 100 + (4 if name == "ResNet-20" else 30)]
    whole = integers(compiled.graph, rows)
    plain = reference.run(compiled.graph, whole)
    theirs = Oracle(compiled.graph).run(whole)
    for node in compiled.graph.nodes:
        assert (plain[node.target] == theirs[node.target]).all(), node.name
    output = plain[compiled.graph.output]
    ours = emulated(compiled, rows, CASES[NAMES.index(name)][4])
    assert (ours.reshape(output.shape) == output).all()
    assert len(np.unique(output)) > 20  # not all zero, nor all saturated
    assert (compiled.program.blocks > 0) == (name == "streamed")
    assert compiled.report.proof.pairs_differing == 0


@pytest.mark.slow
@pytest.mark.parametrize("name", ["digits MLP", "784-64-64-64-10", "digits CNN", "streamed"])
def test_onnxruntime_runs_the_quantised_model_to_the_same_integers(name: str) -> None:
    # Of a deep network with many Adds it computes most in float32, and is a step or two off.
    compiled, values = compiled_case(name)
    rows = values[100:1700]
    plain = reference.run(compiled.graph, integers(compiled.graph, rows))[compiled.graph.output]
    found = as_it_is(compiled.model, compiled.graph, rows, is_optimised=True)
    assert (found == plain.reshape(len(rows), -1)).all()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["digits MLP", "784-64-64-64-10", "digits CNN"])
def test_int8_is_as_accurate_as_float(name: str) -> None:
    accuracy = compiled_case(name)[0].report.accuracy
    assert accuracy is not None
    assert accuracy.rows == 360
    assert accuracy.float_right is not None
    assert accuracy.int8_right is not None
    assert accuracy.float_right > 0.9
    assert accuracy.int8_right > accuracy.float_right - 0.01
    assert accuracy.same_answer > 0.98


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "latency", "interval", "utilisation"),
    [
        ("digits MLP", 80, 46, 0.92),
        ("784-64-64-64-10", 370, 260, 0.99),
        ("ResNet-20", 190_000, 190_000, 0.9),
    ],
)
def test_the_clocks_that_were_aimed_at(
    name: str, latency: int, interval: int, utilisation: float
) -> None:
    report = compiled_case(name)[0].report
    assert report.latency_cycles <= latency
    assert report.interval_cycles <= interval
    assert report.utilisation >= utilisation
    assert sum(layer.macs for layer in report.layers) == report.macs
    assert all(0 <= layer.utilisation <= 1 for layer in report.layers)
    assert all(used <= there for used, there in report.words.values())
    firsts = [layer.first for layer in report.layers]
    assert firsts == sorted(firsts)
    json.dumps(report.as_dict())
