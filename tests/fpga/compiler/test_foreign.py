"""Models that other tools have quantised: on the engine they give what onnxruntime gives."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from fpga.compiler.compilation import Compiled, Options, compile_model
from fpga.compiler.graph import Average, Conv, Max
from fpga.errors import ModelError
from fpga.isa.shape import EngineShape
from tests.fpga.compiler.exported import Draft
from tests.fpga.compiler.running import beats_of, by_onnxruntime, expected

Array = Any
SHAPE = EngineShape(n=8, rq=4, w_words=2000, p_words=512, d_words=64,
                    x_words=1024, a_words=1024, b_words=1024)  # fmt: skip
OPTIONS = Options(shape=SHAPE, allow_host=True)


def rows_for(shape: tuple[int, ...]) -> Array:
    return np.random.default_rng(0).normal(0, 1, (80, *shape)).astype(np.float32)


def as_onnxruntime(model: onnx.ModelProto | Path, rows: Array) -> Compiled:
    """Compiled, and compared with the plain graph, and with onnxruntime: its QLinearAdd rounds more
    often than the engine where two scales have no simple ratio, so here and there a step."""
    compiled = compile_model(model, None, OPTIONS)
    beats = beats_of(compiled, rows)
    whole = compiled.artifact.unpack(beats).reshape(len(rows), -1)
    assert (whole == expected(compiled, rows)).all()
    real = by_onnxruntime(compiled.model, rows)
    end = compiled.graph.tensors[compiled.graph.output]
    theirs = np.rint(real.reshape(len(rows), -1) / np.float32(end.scale)) + end.zero_point
    steps = np.abs(whole - theirs)
    assert steps.max() <= 1
    assert steps.mean() < 0.01
    assert len(np.unique(whole)) > 5
    return compiled


def residual(version: int) -> onnx.ModelProto:
    net = Draft("residual", (3, 12, 12))
    net.put("Relu", net.filters("x", 8, 3))
    net.put("MaxPool", net.end, kernel_shape=[2, 2], strides=[2, 2])
    inner = net.put("Relu", net.filters(net.end, 8, 1, group=8))
    net.put("Relu", net.put("Add", net.filters(inner, 8, 8, 1), inner))
    net.put("GlobalAveragePool", net.end)
    made = net.head(8)
    made.opset_import[0].version, made.ir_version = version, 10 if version > 18 else 8
    return made


WAYS: dict[str, dict[str, Any]] = {
    "signed, for each channel": {"per_channel": True},
    "signed, once": {},
    "symmetric": {"extra_options": {"ActivationSymmetric": True, "WeightSymmetric": True}},
    "unsigned": {"activation": "QUInt8", "per_channel": True},
    "unsigned weights": {
        "activation": "QUInt8", "weight": "QUInt8", "extra_options": {"WeightSymmetric": True},
    },
    "a pair for each reader": {"extra_options": {"DedicatedQDQPair": True}},
    "Relus kept": {"extra_options": {"QDQKeepRemovableActivations": True}},
    "unsigned and asymmetric": {"activation": "QUInt8", "weight": "QUInt8"},
    "float biases": {"per_channel": True, "extra_options": {"QuantizeBias": False}},
    "float weights": {"per_channel": True, "extra_options": {"AddQDQPairToWeight": True}},
}  # fmt: skip


@pytest.mark.parametrize("way", list(WAYS))
@pytest.mark.parametrize("version", [13, 21])
def test_what_quantisers_write(
    way: str, version: int, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    from onnxruntime.quantization import (
        CalibrationDataReader,
        QuantFormat,
        QuantType,
        quantize_static,
    )

    rows = rows_for((3, 12, 12))

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self.left = [{"x": rows}]

        def get_next(self) -> dict[str, Array] | None:
            return self.left.pop() if self.left else None

    options = dict(WAYS[way])
    kinds = {
        f"{name}_type": getattr(QuantType, options.pop(name, "QInt8"))
        for name in ("activation", "weight")
    }
    source, made = tmp_path / "a.onnx", tmp_path / "b.onnx"
    onnx.save(residual(version), source)
    with caplog.at_level("ERROR"):  # it advises on the root logger
        quantize_static(source, made, Reader(), quant_format=QuantFormat.QDQ, reduce_range=True,
                        **kinds, **options)  # fmt: skip
    compiled = as_onnxruntime(made, rows)
    assert compiled.artifact.tail == ()


class Quantised(Draft):
    """A model with QuantizeLinear and DequantizeLinear, written by hand."""

    def pair(self, source: str, scale: float, zero: int | np.uint8 | None, **more: Any) -> str:
        ends = [self.constant(np.float32(scale))]
        if zero is not None:
            ends.append(self.constant(np.int8(zero) if isinstance(zero, int) else zero))
        whole = self.put("QuantizeLinear", source, *ends, **more)
        return self.put("DequantizeLinear", whole, *ends)

    def matrix(self, weight: Array, scale: Array, **more: Any) -> str:
        zeros = self.constant(np.zeros(np.shape(scale), np.int8))
        ends = self.constant(np.asarray(scale, np.float32)), zeros
        return self.put("DequantizeLinear", self.constant(weight.astype(np.int8)), *ends, **more)

    def whole(self, *shape: int) -> Array:
        return self.draw.integers(-63, 64, shape).astype(np.int8)


def test_a_type_that_is_told_by_no_zero_point() -> None:
    for more, zero in (({}, -128), ({"output_dtype": 2}, -128), ({"output_dtype": 3}, 0)):
        net = Quantised("types", (8,))
        start = net.pair("x", 0.0213, None, **more)
        net.pair(net.put("Gemm", start, net.matrix(net.whole(5, 8), 0.0107), transB=1), 0.0311, 3)
        made = net.model(2)
        made.opset_import[0].version, made.ir_version = 21, 10
        compiled = as_onnxruntime(made, rows_for((8,)))
        assert compiled.artifact.input.zero_point == zero


@pytest.mark.parametrize("is_turned", [False, True])
def test_weights_behind_a_transpose_and_a_float_bias(is_turned: bool) -> None:
    net = Quantised("turned", (8,))
    scale = np.linspace(0.005, 0.02, 5)
    weight = net.matrix(net.whole(5, 8), scale, axis=0)
    if not is_turned:
        weight = net.put("Transpose", weight, perm=[1, 0])
    bias = net.constant(net.some(5))
    start = net.pair("x", 0.02, -3)
    net.pair(net.put("Gemm", start, weight, bias, transB=int(is_turned)), 0.03, 3)
    compiled = as_onnxruntime(net.model(2), rows_for((8,)))
    (node,) = compiled.graph.nodes
    assert isinstance(node, Conv)
    assert node.bias.any()


def test_scales_of_the_other_axis_are_refused() -> None:
    for transposed, axis in ((1, 1), (0, 0)):
        net = Quantised("axis", (8,))
        weight = net.matrix(net.whole(8, 8), np.linspace(0.01, 0.02, 8), axis=axis)
        start = net.pair("x", 0.02, 0)
        net.pair(net.put("Gemm", start, weight, transB=transposed), 0.03, 0)
        with pytest.raises(ModelError, match="for each output only"):
            compile_model(net.model(2), None, OPTIONS)


def test_what_is_quantised_anew_is_a_layer_of_its_own() -> None:
    net = Quantised("anew", (8, 5, 5))
    first = net.pair("x", 0.02, -3)
    more = net.pair(net.put("Relu", first), 0.02, -128)
    net.pair(net.put("Clip", more, net.constant(np.float32(0.5)), ""), 0.02, -128)
    compiled = as_onnxruntime(net.model(4), rows_for((8, 5, 5)))
    assert [type(node) for node in compiled.graph.nodes] == [Average, Average]


def test_limits_of_the_input_itself() -> None:
    net = Quantised("limits", (8, 5, 5))
    end = net.put("Clip", "x", net.constant(np.float32(-0.4)), net.constant(np.float32(0.6)))
    net.pair(net.put("Transpose", net.pair(end, 0.02, -3), perm=[0, 2, 3, 1]), 0.02, -3)
    compiled = as_onnxruntime(net.model(4), rows_for((8, 5, 5)))
    assert [type(node) for node in compiled.graph.nodes] == [Max]
    assert compiled.artifact.output.layout == "NHWC"


def test_limits_one_after_the_other() -> None:
    # The last of them has the last word, though nothing lies within both.
    rng = np.random.default_rng(0)
    for _ in range(12):
        net = Quantised("limits", (8,))
        end = net.put("Gemm", net.pair("x", 0.02, 0), net.matrix(net.whole(5, 8), 0.01), transB=1)
        for low, high in rng.uniform(-1.5, 1.5, (3, 2)):
            limits = [net.constant(np.float32(each)) for each in (low, high)]
            end = net.put("Clip", end, *limits)
        net.pair(end, 0.015, 5)
        compiled = compile_model(net.model(2), None, OPTIONS)
        rows = rows_for((8,))
        real = by_onnxruntime(compiled.model, rows)
        ours = compiled.artifact.dequantise(beats_of(compiled, rows))
        assert np.abs(ours - real).max() < 1e-5


def test_one_input_has_one_scale() -> None:
    net = Quantised("twice", (8,))
    parts = [net.pair("x", scale, 0) for scale in (0.02, 0.03)]
    net.pair(net.put("Add", *parts), 0.05, 0)
    with pytest.raises(ModelError, match="quantised twice"):
        compile_model(net.model(2), None, OPTIONS)


def test_kinds_that_the_engine_does_not_have_are_named() -> None:
    net = Quantised("wide", (8,))
    start = net.pair("x", 0.02, 0)
    net.put("DequantizeLinear", net.constant(np.zeros((5, 8), np.uint8)),
            net.constant(np.float32(0.1)), net.constant(np.uint8(200)))  # fmt: skip
    net.pair(net.put("Gemm", start, net.end, transB=1), 0.1, 0)
    with pytest.raises(ModelError, match=r"'dequantizelinear\d' .*symmetric int8"):
        compile_model(net.model(2), None, OPTIONS)
    old = onnx.helper.make_node("QLinearConv", ["x"] * 8, ["y"], name="conv")
    made = net.model(2)
    made.graph.node.append(old)
    with pytest.raises(ModelError, match=r"'conv' \(QLinearConv\).*QDQ"):
        compile_model(made, None, OPTIONS)
