"""Little models: real ones for onnxruntime, and one that a test can look into."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from scoring.onnx_engine import OnnxEngine
from scoring.rows import Tensors
from scoring.signature import Signature, TensorSpec

FLOAT, INT = TensorProto.FLOAT, TensorProto.INT64


def make_model(
    folder: Path,
    *nodes: Any,
    inputs: dict[str, tuple[int, list[Any]]],
    outputs: dict[str, tuple[int, list[Any]]],
    held: Sequence[Any] = (),
) -> OnnxEngine:
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info(name, *info) for name, info in inputs.items()],
        [helper.make_tensor_value_info(name, *info) for name, info in outputs.items()],
        list(held),
    )
    path = folder / "model.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]), path)
    return OnnxEngine.load(path, threads=1)


def unary(
    folder: Path, op: str, *more: str, kind: int = FLOAT, held: Sequence[Any] = (), **options: Any
) -> OnnxEngine:
    """x [N,3] -> y, with one node."""
    return make_model(
        folder,
        helper.make_node(op, ["x", *more], ["y"], **options),
        inputs={"x": (kind, ["N", 3])},
        outputs={"y": (kind, ["N", 3])},
        held=held,
    )


def mlp(folder: Path) -> OnnxEngine:
    numbers = np.random.default_rng(1)
    held = [
        numpy_helper.from_array(numbers.standard_normal(shape).astype(np.float32), name)
        for name, shape in (("w", (8, 32)), ("v", (32, 4)))
    ]
    return make_model(
        folder,
        helper.make_node("MatMul", ["x", "w"], ["h"]),
        helper.make_node("Relu", ["h"], ["r"]),
        helper.make_node("MatMul", ["r", "v"], ["l"]),
        helper.make_node("Softmax", ["l"], ["y"], axis=1),
        helper.make_node("ArgMax", ["l"], ["label"], axis=1, keepdims=0),
        inputs={"x": (FLOAT, ["N", 8])},
        outputs={"y": (FLOAT, ["N", 4]), "label": (INT, ["N"])},
        held=held,
    )


def table(folder: Path) -> OnnxEngine:
    """y = table[x]: fails as a whole when one row asks for what is not there."""
    held = numpy_helper.from_array(np.arange(20, dtype=np.float32).reshape(10, 2), "table")
    return make_model(
        folder,
        helper.make_node("Gather", ["table", "x"], ["y"], axis=0),
        inputs={"x": (INT, ["N"])},
        outputs={"y": (FLOAT, ["N", 2])},
        held=[held],
    )


def axis(number: int) -> Any:
    return numpy_helper.from_array(np.array(number, np.int64), "one")


class FakeModel:
    """Doubles x [N]; remembers what ran where; does what ``before`` says first."""

    def __init__(self, before: Callable[[Any], None] = lambda x: None) -> None:
        self.signature = Signature(
            (TensorSpec("x", "float32", ("N",)),), (TensorSpec("y", "float32", ("N",)),)
        )
        self.before = before
        self.ran: list[list[float]] = []
        self.threads: list[str] = []
        self.is_closed = False

    def run(self, inputs: Tensors) -> Tensors:
        x = inputs["x"]
        self.ran.append(x.tolist())
        self.threads.append(threading.current_thread().name)
        self.before(x)
        return {"y": x * 2}

    def close(self) -> None:
        self.is_closed = True
