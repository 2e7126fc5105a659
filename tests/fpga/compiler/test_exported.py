"""Models as they are exported: compiled, they compute on the engine what the plain integers say,
what onnxruntime makes of the quantised model, and nearly what the float model gives."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import onnx
import pytest

from fpga.compiler.compilation import Options, compile_model
from fpga.errors import FpgaError
from fpga.isa.shape import EngineShape
from tests.fpga.compiler.exported import MODELS, Draft
from tests.fpga.compiler.running import beats_of, by_onnxruntime, expected

Array = Any
SHAPE = EngineShape(n=8, rq=4, w_words=8000, p_words=1024, d_words=64,
                    x_words=4096, a_words=4096, b_words=4096)  # fmt: skip
OPTIONS = Options(shape=SHAPE, allow_host=True)
HELD_OUT = 10  # no multiple of a batch
AVERAGES = {"padding_that_counts"}
"""Averages of windows: onnxruntime makes them in float32, where halves fall to either side."""


def rows_for(shape: tuple[int, ...]) -> Array:
    return np.random.default_rng(0).normal(0, 1, (96 + HELD_OUT, *shape)).astype(np.float32)


@pytest.mark.parametrize("name", list(MODELS))
def test_what_exporters_write(name: str) -> None:
    model, shape = MODELS[name]()
    rows = rows_for(shape)
    held_out = rows[96:]
    compiled = compile_model(model, rows[:96], OPTIONS, (held_out, None))
    beats = beats_of(compiled, held_out)
    whole = compiled.artifact.unpack(beats).reshape(HELD_OUT, -1)
    assert (whole == expected(compiled, held_out)).all()
    # The quantised model, which is float32 between its QuantizeLinears.
    end = compiled.graph.tensors[compiled.graph.output]
    theirs = by_onnxruntime(compiled.model, held_out).reshape(HELD_OUT, -1)
    steps = np.abs(np.rint(theirs / np.float32(end.scale)) + end.zero_point - whole)
    assert steps.max() <= (1 if name in AVERAGES else 0)
    # The model itself.
    real, ours = by_onnxruntime(model, held_out), compiled.artifact.dequantise(beats)
    assert ours.shape == real.shape
    assert np.abs(ours - real).max() <= 0.13 * max(np.abs(real).max(), 1e-6)
    accuracy = compiled.report.accuracy
    assert accuracy is not None
    assert accuracy.rows == HELD_OUT
    assert accuracy.mean_error < 6


def test_a_relu_that_gives_nothing_gives_nothing() -> None:
    # onnxruntime's quantiser leaves such a Relu out, and what is below 0 would come through.
    model, shape = MODELS["relus_that_give_nothing"]()
    rows = rows_for(shape)
    compiled = compile_model(model, rows, OPTIONS)
    assert len(np.unique(beats_of(compiled, rows[:8]), axis=0)) == 1


def test_accuracy_is_of_the_model_that_was_given() -> None:
    # 96 of 106 rows calibrate; with labels that the float model gives itself, it is always right.
    model, shape = MODELS["channels_last"]()
    rows = rows_for(shape)
    labels = by_onnxruntime(model, rows).argmax(axis=1)
    accuracy = compile_model(model, rows[:96], OPTIONS, (rows, labels)).report.accuracy
    assert accuracy is not None
    assert accuracy.float_right == 1.0
    assert accuracy.int8_right == accuracy.same_answer > 0.9
    assert accuracy.largest_error >= accuracy.mean_error > 0


def test_accuracy_of_one_output_is_its_side_of_0() -> None:
    net = Draft("side", (8,))
    net.gemm("x", net.some(1, 8), np.zeros(1))
    rows = rows_for((8,))
    model = net.model(2)
    labels = by_onnxruntime(model, rows)[:, 0] > 0
    accuracy = compile_model(model, rows[:96], OPTIONS, (rows, labels)).report.accuracy
    assert accuracy is not None
    assert accuracy.float_right == 1.0
    assert accuracy.same_answer > 0.9
    wrong = compile_model(model, rows[:96], OPTIONS, (rows, ~labels)).report.accuracy
    assert wrong is not None
    assert wrong.float_right == 0.0


@pytest.mark.parametrize(
    ("inputs", "labels", "word"),
    [
        (np.zeros((0, 8)), None, "one row or more"),
        (np.full((4, 8), np.nan), None, "without nan"),
        (np.full((4, 8), 3e38), None, "gives nan or infinity"),
        (np.zeros((4, 8)), np.zeros(3), "one for each of 4"),
        (np.zeros((4, 8)), np.zeros((4, 2)), "one for each of 4"),
        (np.zeros((4, 7)), None, "does not take these inputs"),
    ],
)
def test_held_out_rows_that_say_nothing(inputs: Array, labels: Array | None, word: str) -> None:
    net = Draft("held", (8,))
    net.gemm("x", net.some(3, 8, spread=4.0), np.zeros(3))
    with pytest.raises(FpgaError, match=word):
        compile_model(net.model(2), rows_for((8,))[:96], OPTIONS, (inputs, labels))


def refusal(net: Draft, rank: int) -> str:
    with pytest.raises(FpgaError) as found:
        compile_model(net.model(rank), rows_for(net.shape), OPTIONS)
    text = str(found.value)
    assert "\n" not in text
    return text


def test_sizes_that_mix_samples_are_refused() -> None:
    for sizes in ([-1, 4], [1, -1], [2, -1], [0, 9]):
        net = Draft("mix", (8,))
        net.put("Reshape", net.gemm("x", net.some(8, 8), net.some(8)),
                net.constant(np.array(sizes, np.int64)))  # fmt: skip
        assert "Reshape" in refusal(net, 2)


@pytest.mark.parametrize(
    ("perm", "word"), [([0, 2, 1, 3], "Transpose"), ([0, 3, 2, 1], "Transpose")]
)
def test_axes_that_the_engine_cannot_turn(perm: list[int], word: str) -> None:
    net = Draft("turn", (4, 4, 4))
    net.filters(net.put("Transpose", "x", perm=perm), 4, 4)
    assert word in refusal(net, 4)


def test_softmax_over_anything_but_channels_is_refused() -> None:
    for axis in (-1, 2, 3, 0):
        net = Draft("soft", (3, 6, 6))
        net.put("Softmax", net.filters("x", 5, 3), axis=axis)
        assert "over axis 1" in refusal(net, 4)
    flat = Draft("soft", (8,))
    flat.put("Softmax", flat.gemm("x", flat.some(4, 8), flat.some(4)), axis=0)
    assert "over axis 1" in refusal(flat, 2)


def test_what_to_do_is_said() -> None:
    ends = Draft("ends", (8,))
    ends.gemm("x", ends.some(4, 8), ends.some(4))
    made = ends.model(2)
    made.graph.output.append(onnx.helper.make_tensor_value_info("x", 1, ["N", 8]))
    with pytest.raises(FpgaError, match=r"2 outputs \(gemm0, x\); keep one"):
        compile_model(made, rows_for((8,)), OPTIONS)
    turned = Draft("turned", (8,))
    turned.put("Gemm", "x", turned.weights(96, 4), transA=1)
    assert "transA" in refusal(turned, 2)
    left = Draft("left", (8,))
    left.put("MatMul", left.weights(8, 8), "x")
    assert "second input" in refusal(left, 2)
    wide = Draft("wide", (9000,))
    wide.gemm("x", wide.some(4, 9000, spread=0.01), wide.some(4))
    assert "more lanes" in refusal(wide, 2)
    padded = Draft("padded", (3, 6, 6))
    padded.put("AveragePool", padded.filters("x", 4, 3), kernel_shape=[3, 3], pads=[1] * 4)
    assert "count_include_pad" in refusal(padded, 4)
    image = Draft("image", (108,))
    image.put("Reshape", "x", image.constant(np.array([-1, 3, 6, 6], np.int64)))
    image.filters(image.end, 4, 3)
    assert "the picture itself" in refusal(image, 4)


def test_scikit_learn_as_skl2onnx_writes_it() -> None:
    skl2onnx = pytest.importorskip("skl2onnx")
    from sklearn.neural_network import MLPRegressor
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    rows = rows_for((8,)) * np.arange(1, 9, dtype=np.float32) + 3
    net = make_pipeline(
        StandardScaler(),
        MLPRegressor(hidden_layer_sizes=(16,), max_iter=9, learning_rate_init=0.02, random_state=0),
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it could train on
        net.fit(rows, np.abs(rows[:, 0] - 3) + rows[:, 1])
    model = skl2onnx.to_onnx(net, rows[:1], target_opset=17)
    assert "Scaler" in [node.op_type for node in model.graph.node]
    compiled = compile_model(model, rows[:96], OPTIONS)
    assert len(compiled.graph.nodes) == 2  # the scaler is part of the first layer
    ours = compiled.artifact.dequantise(beats_of(compiled, rows[96:]))
    real = by_onnxruntime(model, rows[96:])
    assert np.abs(ours - real).max() < 0.06 * np.ptp(real)


def test_nothing_is_printed(capfd: pytest.CaptureFixture[str]) -> None:
    model, shape = MODELS["normalised_inputs"]()
    rows = rows_for(shape)
    compile_model(model, rows[:96], OPTIONS, (rows[96:], None))
    assert capfd.readouterr() == ("", "")
