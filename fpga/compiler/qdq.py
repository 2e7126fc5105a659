"""QuantizeLinear and DequantizeLinear: which int8 tensor or constant a real name stands for."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx

from fpga.compiler.constants import Constant, dequantised_constant, scale_of
from fpga.compiler.graph import Tensor
from fpga.compiler.onnx_file import OnnxFile, attributes, named
from fpga.compiler.view import SHAPES, View, reshaped
from fpga.errors import ModelError

Array = Any


class Values:
    """What is known so far. ``tensors``: int8, by name; ``views``: what each int8 name of the model
    shows, which may be another tensor in another shape."""

    def __init__(self, file: OnnxFile) -> None:
        self._file = file
        self.tensors: dict[str, Tensor] = {}
        self.views: dict[str, View] = {}
        self._real: dict[str, View | Constant] = {}
        """Behind a DequantizeLinear."""

    def __repr__(self) -> str:
        return f"Values({', '.join(self.tensors)})"

    def put(self, name: str, tensor: Tensor, view: View) -> None:
        """The int8 ``name`` is a view of this tensor."""
        self.tensors[tensor.name] = tensor
        self.views[name] = view

    def real(self, name: str) -> View | Constant | None:
        """What a real name stands for, through nodes that only change its shape."""
        found = self._real.get(name)
        node = self._file.producers.get(name)
        if found is not None or node is None or node.op_type not in SHAPES:
            return found
        inner = self.real(node.input[0])
        if not isinstance(inner, View):
            return None
        return reshaped(self._file, node, inner, self.tensors[inner.name])

    def dequantise(self, node: onnx.NodeProto) -> None:
        """Notes what its output stands for."""
        source = node.input[0]
        if self._file.is_constant(source):
            self._real[node.output[0]] = dequantised_constant(self._file, node)
        elif source in self.views:
            view = self.views[source]
            tensor = self.tensors[view.name]
            if scale_of(self._file, node) != (tensor.scale, tensor.zero_point):
                raise ModelError(f"{named(node)}: not the scale that {source} was quantised with")
            self._real[node.output[0]] = view
        else:
            raise ModelError(f"{named(node)}: {source} is not quantised by this model")

    def view(self, node: onnx.NodeProto, place: int) -> View:
        """How the model sees an input of a node that is an int8 tensor."""
        found = self.real(node.input[place])
        if not isinstance(found, View):
            raise ModelError(
                f"{named(node)}: its input {node.input[place]} is not quantised: a QuantizeLinear"
                " and a DequantizeLinear belong before it"
            )
        return found

    def picture(self, node: onnx.NodeProto, place: int) -> Tensor:
        """The tensor behind an input that must be [N, C, H, W]."""
        view = self.view(node, place)
        tensor = self.tensors[view.name]
        if not view.is_picture(tensor):
            raise ModelError(
                f"{named(node)}: its input is {list(view.sizes)} ({view.layout}), and a picture"
                f" [C, H, W] is needed; what the engine holds is {list(tensor.shape)}: give the"
                " model the picture itself, or transpose it before"
            )
        return tensor

    def weight(self, node: onnx.NodeProto, place: int) -> Constant:
        """The int8 constant that an input stands for, or its transpose."""
        name, turns = node.input[place], 0
        while name not in self._real and name in self._file.producers:
            maker = self._file.producers[name]
            if maker.op_type != "Transpose" or attributes(maker).get("perm", [1, 0]) != [1, 0]:
                break
            name, turns = maker.input[0], turns + 1
        found = self._real.get(name)
        if not isinstance(found, Constant) or found.values.dtype != np.int8:
            raise ModelError(f"{named(node)}: its weights must be a quantised int8 constant")
        if turns and found.values.ndim != 2:
            raise ModelError(f"{named(node)}: its weights must be a matrix")
        return found.turned() if turns % 2 else found

    def bias(
        self, node: onnx.NodeProto, place: int, source: Tensor, weight: Constant, outputs: int
    ) -> Array:
        """int64 [outputs], in units of input times weight; zeros where there is none."""
        if len(node.input) <= place or not node.input[place]:
            return np.zeros(outputs, np.int64)
        name = node.input[place]
        unit = np.broadcast_to(np.float32(source.scale) * weight.scale, outputs)
        found = self._real.get(name)
        if found is None and self._file.is_constant(name):
            real = self._file.array(name, node)
            is_whole = False
        elif isinstance(found, Constant):
            real = found.values.astype(np.float64) * found.scale
            is_whole = found.values.dtype == np.int32
            is_whole = is_whole and np.allclose(
                np.broadcast_to(found.scale, unit.shape), unit, rtol=1e-5
            )
        else:
            raise ModelError(f"{named(node)}: its bias must be a constant")
        if real.size != outputs:
            raise ModelError(f"{named(node)}: a bias of {real.size} for {outputs} outputs")
        if is_whole and isinstance(found, Constant):
            return found.values.reshape(-1).astype(np.int64)
        whole = np.rint(real.reshape(-1).astype(np.float64) / unit)
        if not (np.abs(whole) < 1 << 31).all():
            raise ModelError(f"{named(node)}: its bias is too large for the scales of its inputs")
        return whole.astype(np.int64)
