"""QuantizeLinear and DequantizeLinear: which int8 tensor or constant a real name stands for."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper

from fpga.compiler.graph import Tensor
from fpga.compiler.onnx_file import OnnxFile, attributes, named
from fpga.compiler.shapes import check_flat
from fpga.errors import ModelError

Array = Any


@dataclass(frozen=True, slots=True)
class Constant:
    """An initialiser behind a DequantizeLinear."""

    values: Array
    scale: Array
    zero_point: Array


@dataclass(frozen=True, slots=True)
class Flat:
    """A tensor read as a vector in the model's order (C, H, W)."""

    name: str


class Values:
    """What is known so far. ``tensors``: int8, by name; ``flat``: int8 vectors that are another
    tensor's words in another shape."""

    def __init__(self, file: OnnxFile) -> None:
        self._file = file
        self.tensors: dict[str, Tensor] = {}
        self.flat: dict[str, str] = {}
        self._real: dict[str, str | Flat | Constant] = {}

    def __repr__(self) -> str:
        return f"Values({', '.join(self.tensors)})"

    def behind(self, name: str) -> str | Flat | Constant:
        """What a real name stands for; the name itself where nothing is known."""
        found = self._real.get(name, name)
        if isinstance(found, str) and found in self.flat:
            return Flat(self.flat[found])
        return found

    def dequantise(self, node: onnx.NodeProto) -> None:
        """Notes what its output stands for."""
        source = node.input[0]
        if self._file.is_constant(source):
            self._real[node.output[0]] = dequantised_constant(self._file, node)
        elif source in self.flat:
            self._real[node.output[0]] = Flat(self.flat[source])
        elif source in self.tensors:
            tensor = self.tensors[source]
            if scale_of(self._file, node) != (tensor.scale, tensor.zero_point):
                raise ModelError(f"{named(node)}: not the scale that {source} was quantised with")
            self._real[node.output[0]] = source
        else:
            raise ModelError(f"{named(node)}: {source} is not quantised by this model")

    def tensor(self, node: onnx.NodeProto, place: int, *, is_flat_fine: bool = False) -> Tensor:
        """The int8 tensor that an input stands for."""
        name, producers = node.input[place], self._file.producers
        while name in producers and producers[name].op_type in ("Flatten", "Reshape"):
            if not is_flat_fine:
                break
            check_flat(self._file, producers[name])
            name = producers[name].input[0]
        found = self._real.get(name)
        if isinstance(found, Flat) and is_flat_fine:
            return self.tensors[found.name]
        if not isinstance(found, str):
            raise ModelError(
                f"{named(node)}: {name} is not a quantised tensor (of a supported shape)"
            )
        return self.tensors[found]

    def weight(self, node: onnx.NodeProto, place: int) -> Constant:
        """The int8 constant that an input stands for."""
        found = self._real.get(node.input[place])
        if not isinstance(found, Constant) or found.values.dtype != np.int8:
            raise ModelError(f"{named(node)}: its weights must be a quantised int8 constant")
        return found

    def bias(
        self, node: onnx.NodeProto, place: int, source: Tensor, weight: Constant, outputs: int
    ) -> Array:
        """int64 [outputs]; zeros where there is none."""
        if len(node.input) <= place or not node.input[place]:
            return np.zeros(outputs, np.int64)
        found = self._real.get(node.input[place])
        if not isinstance(found, Constant) or found.values.dtype != np.int32:
            raise ModelError(f"{named(node)}: its bias must be a quantised int32 constant")
        expected = np.broadcast_to(np.float32(source.scale) * weight.scale, found.scale.shape)
        if not np.allclose(found.scale, expected, rtol=1e-5):
            raise ModelError(f"{named(node)}: its bias must have the scale of input times weight")
        if found.values.size != outputs:
            raise ModelError(f"{named(node)}: a bias of {found.values.size} for {outputs} outputs")
        return found.values.reshape(-1).astype(np.int64)


def scale_of(file: OnnxFile, node: onnx.NodeProto) -> tuple[float, int]:
    """Scale and zero point, as int8, of a QuantizeLinear or DequantizeLinear of an activation."""
    scale = file.array(node.input[1], node)
    if scale.size != 1:
        raise ModelError(f"{named(node)}: activations have one scale each")
    zero = 0
    if len(node.input) > 2 and node.input[2]:
        array = file.array(node.input[2], node)
        if array.dtype not in (np.int8, np.uint8):
            raise ModelError(f"{named(node)}: activations are int8, not {array.dtype}")
        # uint8 is int8 with everything 128 higher, the zero point too.
        zero = int(array.reshape(-1)[0]) - (128 if array.dtype == np.uint8 else 0)
    else:
        zero = -128  # without a zero point the type is uint8
    value = float(scale.astype(np.float32).reshape(-1)[0])
    if not (math.isfinite(value) and value > 0):
        raise ModelError(f"{named(node)}: a scale that is not positive and finite")
    return value, zero


def dequantised_constant(file: OnnxFile, node: onnx.NodeProto) -> Constant:
    """Weights or a bias."""
    values = file.array(node.input[0], node)
    scale = file.array(node.input[1], node).astype(np.float32)
    zero = (
        file.array(node.input[2], node)
        if len(node.input) > 2 and node.input[2]
        else np.zeros(scale.shape, np.int64)
    )
    if values.dtype not in (np.int8, np.int32):
        raise ModelError(f"{named(node)}: weights are int8 and biases int32, not {values.dtype}")
    if np.any(zero != 0):
        raise ModelError(f"{named(node)}: weights must be symmetric (zero point 0)")
    if not (np.isfinite(scale).all() and (scale > 0).all()):
        raise ModelError(f"{named(node)}: a scale that is not positive and finite")
    return Constant(values, scale, zero)


def quantised_constant(file: OnnxFile, node: onnx.NodeProto) -> onnx.TensorProto:
    """Weights that are stored as float32 before their QuantizeLinear."""
    values, scale = (file.array(name, node).astype(np.float32) for name in node.input[:2])
    zero = file.array(node.input[2], node) if len(node.input) > 2 else np.zeros(1, np.uint8)
    if zero.dtype != np.int8 or not np.isfinite(values).all() or not (scale > 0).all():
        raise ModelError(f"{named(node)}: finite weights to int8 only")
    if scale.size > 1:
        axis = attributes(node).get("axis", 1) % values.ndim
        around = [1] * values.ndim
        around[axis] = -1
        scale, zero = scale.reshape(around), zero.reshape(around)
    whole = np.rint(values / scale) + zero
    return numpy_helper.from_array(np.clip(whole, -128, 127).astype(np.int8), node.output[0])


def limits(
    file: OnnxFile, node: onnx.NodeProto, scale: float, zero: int, lo: int, hi: int
) -> tuple[int, int]:
    """In int8, of a Relu, Clip or Identity. They come from the end of the chain inwards."""
    if node.op_type == "Identity":
        return lo, hi
    least, most = 0.0, math.inf
    if node.op_type == "Clip":
        bounds = [
            float(file.array(node.input[place], node))
            if len(node.input) > place and node.input[place]
            else None
            for place in (1, 2)
        ]
        old = attributes(node)
        least = bounds[0] if bounds[0] is not None else old.get("min", -math.inf)
        most = bounds[1] if bounds[1] is not None else old.get("max", math.inf)
    return max(lo, _quantised(least, scale, zero)), min(hi, _quantised(most, scale, zero))


def _quantised(value: float, scale: float, zero: int) -> int:
    if math.isinf(value):
        return 127 if value > 0 else -128
    return int(np.clip(np.rint(np.float32(value) / np.float32(scale)) + zero, -128, 127))
