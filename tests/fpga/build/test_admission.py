"""What onnxruntime never gets to run, and what it says where it cannot."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from fpga.compiler.quantisation import quantise
from fpga.errors import ModelError
from tests.fpga.build import networks


def bomb() -> onnx.ModelProto:
    """A sum over 5 GB of zeros."""
    model = networks.tiny()
    graph = model.graph
    graph.initializer.append(numpy_helper.from_array(np.array([1_250_000_000], np.int64), "big"))
    graph.node.insert(0, helper.make_node("ConstantOfShape", ["big"], ["huge"], name="bomb"))
    graph.node.insert(1, helper.make_node("ReduceSum", ["huge"], ["one"], keepdims=1))
    graph.node.append(helper.make_node("Add", [graph.node[-1].output[0], "one"], ["z"]))
    graph.output[0].name = "z"
    return model


def foreign() -> onnx.ModelProto:
    model = networks.tiny()
    model.graph.node[1].domain = "com.example"
    model.graph.node[1].name = "bomb"
    return model


def whole() -> onnx.ModelProto:
    model = networks.tiny()
    model.graph.input[0].name = "bomb"
    model.graph.node[0].input[0] = "bomb"
    model.graph.input[0].type.tensor_type.elem_type = onnx.TensorProto.INT64
    return model


@pytest.mark.parametrize("make", [bomb, foreign, whole])
def test_what_can_never_be_compiled_is_refused_before_it_runs(
    make: Callable[[], onnx.ModelProto], monkeypatch: pytest.MonkeyPatch
) -> None:
    def run(*_: Any, **__: Any) -> None:
        raise AssertionError("onnxruntime has it")

    monkeypatch.setattr("onnxruntime.quantization.shape_inference.quant_pre_process", run)
    with pytest.raises(ModelError, match="bomb"):
        quantise(make(), networks.inputs())


def test_what_onnxruntime_cannot_run_is_one_line_without_places(
    capfd: pytest.CaptureFixture[str],
) -> None:
    model = networks.tiny()
    model.graph.node[0].input[1] = model.graph.node[2].input[1]  # weights of another layer
    with pytest.raises(ModelError, match="onnxruntime cannot quantise") as refusal:
        quantise(model, networks.inputs())
    assert "\n" not in str(refusal.value)
    assert "/tmp" not in str(refusal.value)
    assert "Traceback" not in capfd.readouterr().err
