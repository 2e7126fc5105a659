"""A float ONNX graph that is written anew: shapes, constants, who reads what, nodes in and out."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

Array = Any


class FloatGraph:
    """A copy of a model. Names of constants and tensors that it adds are new."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self.model = onnx.ModelProto()
        self.model.CopyFrom(model)
        self._graph = self.model.graph
        self._names = {each.name for each in (*self._graph.initializer, *self._graph.input)}
        self._names.update(name for node in self._graph.node for name in node.output)
        self._sizes = _sizes(model)
        self._constants: dict[str, onnx.TensorProto] | None = None
        self._found: tuple[dict[str, onnx.NodeProto], dict[str, list[onnx.NodeProto]]] | None = None

    @property
    def nodes(self) -> list[onnx.NodeProto]:
        return list(self._graph.node)

    def constant(self, name: str) -> Array | None:
        """The values of an initialiser; None for anything else."""
        if self._constants is None:
            self._constants = {each.name: each for each in self._graph.initializer}
        found = self._constants.get(name)
        return None if found is None else numpy_helper.to_array(found)

    def drop_unused(self) -> None:
        """Constants that nobody reads any more."""
        read = {name for node in self._graph.node for name in node.input}
        read.update(each.name for each in self._graph.output)
        kept = [each for each in self._graph.initializer if each.name in read]
        del self._graph.initializer[:]
        self._graph.initializer.extend(kept)
        self._constants = None

    def sizes(self, name: str) -> tuple[int, ...] | None:
        """Without the batch, where they are known."""
        return self._sizes.get(name)

    def maker(self, name: str) -> onnx.NodeProto | None:
        return self._index()[0].get(name)

    def only_reader(self, name: str) -> onnx.NodeProto | None:
        """The one node that reads it, and once, where nothing else does."""
        found = self._index()[1].get(name, [])
        is_output = any(each.name == name for each in self._graph.output)
        return found[0] if len(found) == 1 and not is_output else None

    def _index(self) -> tuple[dict[str, onnx.NodeProto], dict[str, list[onnx.NodeProto]]]:
        """Who makes a name, and who reads it."""
        if self._found is None:
            makers: dict[str, onnx.NodeProto] = {}
            readers: dict[str, list[onnx.NodeProto]] = {}
            for node in self._graph.node:
                makers.update((name, node) for name in node.output)
                for name in node.input:
                    readers.setdefault(name, []).append(node)
            self._found = makers, readers
        return self._found

    def add_constant(self, values: Array) -> str:
        """The name of a new initialiser."""
        name = self.new_name("constant")
        self._constants = None
        self._graph.initializer.append(numpy_helper.from_array(np.asarray(values), name))
        return name

    def new_name(self, like: str, sizes: tuple[int, ...] | None = None) -> str:
        """Of a tensor that there was not."""
        count = 1
        while (name := f"{like} inferry {count}") in self._names:
            count += 1
        self._names.add(name)
        if sizes is not None:
            self._sizes[name] = sizes
        return name

    def replace(self, old: list[onnx.NodeProto], new: list[onnx.NodeProto]) -> None:
        """The new ones stand where the last of the old ones stood."""
        self._found = None
        at = max(place for place, node in enumerate(self._graph.node) if node in old)
        for place, node in enumerate(new, at + 1):
            self._graph.node.insert(place, node)
        for node in old:
            self._graph.node.remove(node)


def _sizes(model: onnx.ModelProto) -> dict[str, tuple[int, ...]]:
    try:
        whole = onnx.shape_inference.infer_shapes(model).graph
    except Exception:  # it says more when onnxruntime reads the model
        return {}
    found = {}
    for value in (*whole.input, *whole.output, *whole.value_info):
        dims = value.type.tensor_type.shape.dim
        if dims and all(dim.dim_value > 0 for dim in dims[1:]):
            found[value.name] = tuple(dim.dim_value for dim in dims[1:])
    return found


def make(kind: str, inputs: list[str], output: str, name: str, **attributes: Any) -> onnx.NodeProto:
    """A node with one output."""
    return helper.make_node(kind, inputs, [output], name=name, **attributes)
