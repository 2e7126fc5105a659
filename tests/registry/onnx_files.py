"""Small ONNX files, made for a test."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from onnx import TensorProto, helper

Shape = Sequence[int | str | None] | None


def save(path: Path, graph: Any) -> Path:
    """Write a model of ``graph``."""
    path.parent.mkdir(parents=True, exist_ok=True)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    path.write_bytes(model.SerializeToString())
    return path


def adder(path: Path, *, constant: float = 1.0, shape: Shape = ("batch", 3)) -> Path:
    """y = x + w, where the initializer w is listed as an input too."""
    weights = helper.make_tensor("w", TensorProto.FLOAT, [3], [constant] * 3)
    graph = helper.make_graph(
        [helper.make_node("Add", ["x", "w"], ["y"])],
        "adder",
        [
            helper.make_tensor_value_info("x", TensorProto.FLOAT, shape),
            helper.make_tensor_value_info("w", TensorProto.FLOAT, [3]),
        ],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", None])],
        [weights],
    )
    return save(path, graph)


def external_tensor(location: str) -> Any:
    """A tensor of three floats that lie in the file ``location``."""
    tensor = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[3])
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value=location)
    return tensor


def with_external_data(path: Path, location: str) -> Path:
    """y = x + w, where w lies in the file ``location``."""
    graph = helper.make_graph(
        [helper.make_node("Add", ["x", "w"], ["y"])],
        "external",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [3])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [3])],
        [external_tensor(location)],
    )
    return save(path, graph)


def with_external_data_in_branch(path: Path, location: str) -> Path:
    """The same, but w is an initializer of a branch of an If node."""
    out = helper.make_tensor_value_info("z", TensorProto.FLOAT, [3])
    branch = helper.make_graph(
        [helper.make_node("Identity", ["w"], ["z"])],
        "branch",
        [],
        [out],
        [external_tensor(location)],
    )
    graph = helper.make_graph(
        [helper.make_node("If", ["c"], ["y"], then_branch=branch, else_branch=branch)],
        "branches",
        [helper.make_tensor_value_info("c", TensorProto.BOOL, [])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [3])],
    )
    return save(path, graph)
