"""Models that the engine cannot run: each is refused in a line that names the node and the way out;
nothing else is ever raised."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from benchmarks.fpga.models import Network
from fpga.compiler.compilation import Options, compile_model
from fpga.compiler.graph import Conv
from fpga.compiler.quantisation import quantise
from fpga.errors import CapacityError, FpgaError, ModelError
from fpga.isa.shape import LARGE, SMALL, EngineShape

Array = Any
DRAW = np.random.default_rng(0)
ROWS = DRAW.normal(0, 1, (16, 8)).astype(np.float32)
PICTURES = DRAW.normal(0, 1, (16, 3, 6, 6)).astype(np.float32)


def dense(*more: tuple[str, dict[str, Any]], width: int = 8, out: int = 4) -> onnx.ModelProto:
    net = Network("dense", (width,))
    end = net.gemm("x", DRAW.normal(0, 1, (out, width)), np.zeros(out))
    for kind, attributes in more:
        end = net.put(kind, end, **attributes)
    return net.model(2)


def picture(**attributes: Any) -> onnx.ModelProto:
    net = Network("picture", (3, 6, 6))
    net.conv("x", DRAW.normal(0, 1, (4, 3, 3, 3)), **attributes)
    return net.model(4)


def quantised() -> onnx.ModelProto:
    return quantise(dense(), ROWS)


def refused(model: Any, rows: Any = ROWS, **options: Any) -> str:
    with pytest.raises((ModelError, CapacityError)) as found:
        compile_model(model, rows, Options(shape=SMALL, **options))
    text = str(found.value)
    assert "\n" not in text
    assert "/tmp" not in text
    return text


def constant(model: onnx.ModelProto, name: str) -> onnx.TensorProto:
    return next(each for each in model.graph.initializer if each.name == name)


@pytest.mark.parametrize("kind", ["Tanh", "Erf", "LeakyRelu", "Elu", "Exp"])
def test_an_operator_that_is_not_supported_is_named(kind: str) -> None:
    text = refused(dense((kind, {})))
    assert kind in text
    assert "what is:" in text


def test_the_host_does_the_end_only_when_allowed() -> None:
    model = dense(("Softmax", {"axis": 1}))
    assert "allow the host" in refused(model)
    made = compile_model(model, ROWS, Options(shape=SMALL, allow_host=True))
    assert made.artifact.tail == ("softmax",)
    picked = compile_model(
        dense(("ArgMax", {"axis": 1, "keepdims": 0})), ROWS, Options(shape=SMALL, allow_host=True)
    )
    assert picked.artifact.tail == ("argmax",)
    for attributes in ({"axis": 1}, {"keepdims": 0}):  # defaults: keepdims 1, axis 0
        assert "ArgMax" in refused(dense(("ArgMax", attributes)), allow_host=True)


def test_an_end_in_the_middle_is_refused() -> None:
    net = Network("middle", (8,))
    soft = net.put("Softmax", net.gemm("x", DRAW.normal(0, 1, (4, 8)), np.zeros(4)))
    net.gemm(soft, DRAW.normal(0, 1, (4, 4)), np.zeros(4))
    assert "Softmax" in refused(net.model(2), allow_host=True)


@pytest.mark.parametrize(
    ("attributes", "word"),
    [
        ({"dilations": [8, 8], "pads": [8] * 4}, "kernel [17, 17]"),
        ({"strides": [16, 16], "pads": [15] * 4}, "strides [16, 16]"),
        ({"pads": [16] * 4}, "pads [16, 16, 16, 16]"),
    ],
)
def test_windows_that_the_engine_lacks(attributes: dict[str, Any], word: str) -> None:
    net = Network("picture", (3, 6, 6))
    net.conv("x", DRAW.normal(0, 1, (6, 3, 3, 3)), **attributes)
    text = refused(net.model(4), PICTURES)
    assert "conv0" in text
    assert word in text


def test_a_window_that_meets_padding_only() -> None:
    net = Network("point", (3, 1, 1))
    net.conv("x", DRAW.normal(0, 1, (4, 3, 1, 1)), pads=[1] * 4, strides=[2, 2])
    assert "meets padding only" in refused(net.model(4), PICTURES[:, :, :1, :1])


def test_sizes_that_are_not_known() -> None:
    model = picture()
    model.graph.input[0].type.tensor_type.shape.dim[2].ClearField("dim_value")
    model.graph.input[0].type.tensor_type.shape.dim[2].dim_param = "height"
    assert "fixed" in refused(model, PICTURES)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_weights_and_calibration_are_numbers(bad: float) -> None:
    model = dense()
    weight = numpy_helper.to_array(constant(model, "c0")).copy()
    weight[0, 0] = bad
    constant(model, "c0").CopyFrom(numpy_helper.from_array(weight, "c0"))
    assert "nan" in refused(model)
    rows = ROWS.copy()
    rows[0, 0] = bad
    assert "calibration" in refused(dense(), rows)


def test_calibration_is_needed_and_has_the_right_shape() -> None:
    assert "calibration" in refused(dense(), None)
    assert "calibration" in refused(dense(), ROWS[:0])
    assert "onnxruntime cannot quantise" in refused(dense(), ROWS[:, :5])


def test_weights_in_other_files() -> None:
    model = dense()
    weight = constant(model, "c0")
    weight.data_location = TensorProto.EXTERNAL
    entry = weight.external_data.add()
    entry.key, entry.value = "location", "../../etc/passwd"
    weight.ClearField("raw_data")
    assert "one file" in refused(model)


def test_files_that_are_no_models(tmp_path: Path) -> None:
    (tmp_path / "a.onnx").write_bytes(b"\x00\x01nonsense")
    (tmp_path / "empty.onnx").write_bytes(b"")
    for name in ("a.onnx", "empty.onnx", "none.onnx"):
        refused(tmp_path / name)


@pytest.mark.parametrize("scale", [0.0, -1.0, np.nan, np.inf, 1e30, 1e-38])
@pytest.mark.parametrize("which", ["activation", "weight"])
def test_scales_that_no_quantiser_writes(scale: float, which: str) -> None:
    model = quantised()
    ends = {"activation": "x_scale", "weight": "c0_scale"}
    tensor = constant(model, ends[which])
    old = numpy_helper.to_array(tensor)
    tensor.CopyFrom(numpy_helper.from_array(np.full_like(old, scale), tensor.name))
    assert "scale" in refused(model)


def test_weights_with_a_zero_point() -> None:
    model = quantised()
    tensor = constant(model, "c0_zero_point")
    old = numpy_helper.to_array(tensor)
    tensor.CopyFrom(numpy_helper.from_array(np.full_like(old, 100), tensor.name))
    assert "symmetric" in refused(model)
    # A small one leaves 8 bits for these weights of 7.
    tensor.CopyFrom(numpy_helper.from_array(np.full_like(old, 3), tensor.name))
    (node,) = compile_model(model, None, Options(shape=SMALL)).graph.nodes
    assert isinstance(node, Conv)
    assert node.weight.min() == -67


def test_sums_that_float32_would_round() -> None:
    # 800 weights of 127 on 255 steps reach 25.9 million, beyond 2^24; of 64, half as many.
    weight = np.full((4, 800), 1.0)
    net = Network("wide", (800,))
    net.gemm("x", weight, np.zeros(4))
    rows = DRAW.uniform(0, 1, (16, 800)).astype(np.float32)
    with pytest.raises(ModelError, match="reduce_range"):
        compile_model(net.model(2), rows, Options(shape=LARGE, reduce_range=False))
    assert (
        compile_model(net.model(2), rows, Options(shape=LARGE)).report.proof.largest_sum < 1 << 24
    )


def test_an_input_that_is_too_large() -> None:
    net = Network("large", (3, 40, 40))
    net.conv("x", DRAW.normal(0, 1, (4, 3, 3, 3)))
    rows = DRAW.normal(0, 1, (4, 3, 40, 40)).astype(np.float32)
    text = refused(net.model(4), rows)
    assert "1600 words" in text
    assert "x_words" in text


def test_activations_weights_parameters_and_layers_that_do_not_fit() -> None:
    rows = PICTURES[:4]
    many = Network("many", (3, 6, 6))
    end = many.conv("x", DRAW.normal(0, 0.1, (96, 3, 3, 3)))
    many.conv(end, DRAW.normal(0, 0.1, (4, 96, 3, 3)))
    assert "banks A and B" in refused(many.model(4), rows)
    tile = Network("tile", (3, 6, 6))
    tile.conv("x", DRAW.normal(0, 1, (8, 3, 5, 5)))
    tiny = EngineShape(n=8, rq=4, w_words=20, p_words=8, d_words=2,
                       x_words=256, a_words=64, b_words=64)  # fmt: skip
    with pytest.raises(CapacityError, match="w_words"):
        compile_model(tile.model(4), rows, Options(shape=tiny))
    with pytest.raises(CapacityError, match="p_words"):
        compile_model(dense(out=80), ROWS, Options(shape=EngineShape(
            n=8, rq=4, w_words=20, p_words=8, d_words=2, x_words=64, a_words=64, b_words=64
        )))  # fmt: skip
    deep = Network("deep", (8,))
    end = "x"
    for _ in range(5):
        end = deep.gemm(end, DRAW.normal(0, 1, (8, 8)), np.zeros(8))
    with pytest.raises(CapacityError, match="d_words"):
        compile_model(deep.model(2), ROWS, Options(shape=tiny))


def test_four_hundred_layers_are_refused_and_quickly() -> None:
    deep = Network("deep", (8,))
    end, weight = "x", DRAW.normal(0, 0.5, (8, 8))
    weight /= np.abs(np.linalg.eigvals(weight)).max()
    for _ in range(400):
        end = deep.gemm(end, weight, np.zeros(8))
    assert "400 layers" in refused(deep.model(2), ROWS)


def test_a_thousand_operators_are_refused_and_quickly() -> None:
    assert "1201 operators" in refused(dense(*[("Relu", {})] * 1200))


@pytest.mark.parametrize("version", [7, 9])
def test_operators_that_are_too_old(version: int) -> None:
    model = dense()
    model.opset_import[0].version = version
    assert "10 or later" in refused(model)


@pytest.mark.parametrize("version", [11, 13, 15, 17, 18, 19, 21])
def test_versions_of_operators_that_quantise_alike(version: int) -> None:
    model = dense(("Relu", {}))
    model.opset_import[0].version = version
    made = compile_model(model, ROWS, Options(shape=SMALL))
    assert made.graph.nodes[0].lo == made.graph.tensors[made.graph.output].zero_point


def test_two_inputs_or_outputs() -> None:
    model = dense()
    model.graph.input.append(helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 8]))
    assert "one input" in refused(model)
    model = dense(("Relu", {}))
    model.graph.output.append(helper.make_tensor_value_info("gemm0", TensorProto.FLOAT, ["N", 4]))
    assert "one output" in refused(model)


@given(data=st.data())
@settings(max_examples=60, deadline=None, derandomize=True,
          suppress_health_check=list(HealthCheck))  # fmt: skip
def test_a_damaged_file_raises_nothing_of_another_kind(data: st.DataObject) -> None:
    whole = bytearray(BYTES)
    for _ in range(data.draw(st.integers(1, 4))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    try:
        model = onnx.load_model_from_string(bytes(whole))
    except Exception:
        return
    try:
        compile_model(model, ROWS, Options(shape=SMALL))
    except FpgaError as error:
        refusal = str(error)
        if "\n" in refusal:
            pytest.fail(refusal)


BYTES = quantised().SerializeToString()
