"""An ONNX graph to look things up in: constants, who makes a name, how often it is read."""

from __future__ import annotations

from typing import Any

import onnx
from onnx import numpy_helper

from fpga.errors import ModelError

Array = Any


class OnnxFile:
    """Of a model with one input and one output."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self._graph = model.graph
        self._constants = {each.name: each for each in model.graph.initializer}
        self.producers = {name: node for node in model.graph.node for name in node.output if name}
        self._readers: dict[str, list[onnx.NodeProto]] = {}
        for node in model.graph.node:
            for name in node.input:
                self._readers.setdefault(name, []).append(node)

    def __repr__(self) -> str:
        return f"OnnxFile({self.name!r}, {len(self._graph.node)} nodes)"

    @property
    def name(self) -> str:
        return str(self._graph.name or "model")

    @property
    def nodes(self) -> list[onnx.NodeProto]:
        return list(self._graph.node)

    def input(self) -> onnx.ValueInfoProto:
        """The only one that is no constant. Raises ModelError where there are more, or outputs."""
        found = [each for each in self._graph.input if each.name not in self._constants]
        check_ends([each.name for each in found], [each.name for each in self._graph.output])
        return found[0]

    def batch(self) -> int | None:
        """The number of samples that the model is made for; None: any."""
        sizes = self.input().type.tensor_type.shape.dim
        return (sizes[0].dim_value or None) if sizes else None

    def output(self) -> str:
        return str(self._graph.output[0].name)

    def readers(self, name: str) -> list[onnx.NodeProto]:
        """The nodes that read it, each as often as it does."""
        return self._readers.get(name, [])

    def is_constant(self, name: str) -> bool:
        return name in self._constants

    def keep(self, name: str, tensor: onnx.TensorProto) -> None:
        """A constant that a node gives."""
        self._constants[name] = tensor

    def array(self, name: str, node: onnx.NodeProto) -> Array:
        """The values of a constant that ``node`` needs. Raises ModelError, naming the node."""
        if name not in self._constants:
            raise ModelError(f"{named(node)}: {name} must be a constant")
        try:
            return numpy_helper.to_array(self._constants[name])
        except Exception as error:
            raise ModelError(
                f"{named(node)}: {name} cannot be read: {type(error).__name__}"
            ) from None


def check_ends(inputs: list[str], outputs: list[str]) -> None:
    """Raises ModelError where a model has not one input and one output."""
    for names, kind in ((inputs, "input"), (outputs, "output")):
        if len(names) != 1:
            listed = ", ".join(names)[:200]
            raise ModelError(
                f"a model with one input and one output is needed: this one has {len(names)}"
                f" {kind}s ({listed}); keep one (onnx.utils.extract_model does)"
            )


def attributes(node: onnx.NodeProto) -> dict[str, Any]:
    """By name."""
    return {each.name: onnx.helper.get_attribute_value(each) for each in node.attribute}


def constant(node: onnx.NodeProto) -> onnx.TensorProto:
    """The value of a Constant. Raises ModelError for a kind that is not supported."""
    found = attributes(node).get("value")
    if not isinstance(found, onnx.TensorProto):
        raise ModelError(f"{named(node)}: a constant of a kind that is not supported")
    return found


def label(node: onnx.NodeProto) -> str:
    """Its name, or its output's."""
    return str(node.name or node.output[0])[:200]


def named(node: onnx.NodeProto) -> str:
    """How a refusal names it."""
    return f"node {label(node)!r} ({node.op_type})"
