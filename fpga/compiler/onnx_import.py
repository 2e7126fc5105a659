"""A quantised ONNX model (QuantizeLinear and DequantizeLinear around every operator) as a Graph.

What the engine cannot do is refused by the name of its node. The model may come from
fpga/compiler/quantisation.py or from elsewhere.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper

from fpga.compiler import addition
from fpga.compiler.graph import (
    Add,
    Average,
    Concat,
    Conv,
    Graph,
    Max,
    Node,
    Tensor,
    Window,
    read_by,
)
from fpga.compiler.tail import split_tail
from fpga.errors import ModelError

Array = Any
SUPPORTED = (
    "Gemm, MatMul, Conv, Relu, Clip, MaxPool, AveragePool, GlobalAveragePool, ReduceMean over"
    " height and width, Add of two tensors, Concat of channels, Flatten and Reshape to a vector;"
    " and on the host, when allowed, Softmax, Sigmoid and ArgMax at the end"
)
MOST_SIZE = 1023
LEAST_KERNEL, MOST_KERNEL = 1, 15


@dataclass(frozen=True, slots=True)
class _Constant:
    """An initialiser behind a DequantizeLinear."""

    values: Array
    scale: Array
    zero_point: Array


@dataclass(frozen=True, slots=True)
class _Flat:
    """A tensor read as a vector in the model's order (C, H, W)."""

    name: str


def import_graph(model: onnx.ModelProto, *, allow_host: bool = False) -> Graph:
    """The graph of a quantised model.

    allow_host: a Softmax or ArgMax at the end may be left to the host. Raises ModelError.
    """
    model, tail = split_tail(model, allow_host=allow_host)
    try:
        return _Importer(model, tail).graph()
    except (IndexError, KeyError, ValueError, TypeError, AttributeError, OverflowError) as error:
        raise ModelError(f"the model is malformed: {type(error).__name__}: {error}") from None


class _Importer:
    def __init__(self, model: onnx.ModelProto, tail: tuple[str, ...]) -> None:
        self._onnx = model.graph
        self._tail = tail
        self._constants = {each.name: each for each in model.graph.initializer}
        self._producers = {name: node for node in model.graph.node for name in node.output if name}
        self._uses: dict[str, int] = {}
        for node in model.graph.node:
            for name in node.input:
                self._uses[name] = self._uses.get(name, 0) + 1
        self._tensors: dict[str, Tensor] = {}
        self._real: dict[str, str | _Flat | _Constant] = {}
        """Behind a DequantizeLinear: what is real there."""
        self._flat: dict[str, str] = {}
        """An int8 vector that is another tensor's words in another shape."""
        self._nodes: list[Node] = []

    def graph(self) -> Graph:
        input_name, layout = self._input()
        end = self._onnx.output[0].name
        for node in self._onnx.node:
            if node.op_type == "QuantizeLinear":
                self._quantise(node, input_name)
            elif node.op_type == "DequantizeLinear":
                self._dequantise(node)
            elif node.op_type == "Constant":
                self._constants[node.output[0]] = _constant(node)
        self._refuse_rest()
        if not self._nodes:
            raise ModelError("the model computes nothing that the engine could: is it quantised?")
        found, tail = self._end(end)
        made = {node.target for node in self._nodes}
        if found not in made:
            raise ModelError(f"the output {end} is not computed by anything")
        source = next(name for name in self._tensors if name not in made)
        is_vector = self._tensors[found].shape[1:] == (1, 1) and self._rank(end) == 2
        return Graph(
            self._onnx.name or "model", self._tensors, self._needed(found), source, found,
            input_name, end, (layout, "NC" if is_vector else "NCHW"), tail,
        )  # fmt: skip

    def _end(self, end: str) -> tuple[str, tuple[str, ...]]:
        """(the int8 tensor that goes out, what the host does with it)."""
        found, tail = self._real.get(end, end), self._tail
        if isinstance(found, str) and found in self._flat:
            found = _Flat(self._flat[found])
        if isinstance(found, _Flat):
            found = found.name
            if self._tensors[found].shape[1:] != (1, 1):
                tail = ("flatten", *tail)
        if not isinstance(found, str) or found not in self._tensors:
            raise ModelError(
                f"the output {end} is not a quantised tensor: quantise the model to its end, or"
                " allow the host to do the rest"
            )
        return found, tail

    def _needed(self, end: str) -> tuple[Node, ...]:
        """The nodes that the output is made of."""
        wanted, found = {end}, []
        for node in reversed(self._nodes):
            if node.target in wanted:
                found.append(node)
                wanted.update(read_by(node))
        return tuple(reversed(found))

    # Where it begins and ends.

    def _input(self) -> tuple[str, str]:
        inputs = [each for each in self._onnx.input if each.name not in self._constants]
        if len(inputs) != 1 or len(self._onnx.output) != 1:
            raise ModelError("a model with one input and one output is needed")
        sizes = inputs[0].type.tensor_type.shape.dim
        if len(sizes) not in (2, 4):
            raise ModelError(f"the input is [N, C] or [N, C, H, W], not of rank {len(sizes)}")
        if any(size.dim_value > MOST_SIZE for size in sizes[2:]):
            raise ModelError(f"the input is at most {MOST_SIZE} x {MOST_SIZE}")
        if any(size.dim_value < 1 for size in sizes[1:]):
            raise ModelError(
                "the input's sizes must be known, but for the batch: export the model with fixed"
                " height, width and channels"
            )
        return inputs[0].name, "NC" if len(sizes) == 2 else "NCHW"

    def _sizes(self, name: str) -> tuple[int, int, int]:
        found = next(each for each in self._onnx.input if each.name == name)
        sizes = [size.dim_value for size in found.type.tensor_type.shape.dim][1:]
        return (sizes[0], 1, 1) if len(sizes) == 1 else (sizes[0], sizes[1], sizes[2])

    def _rank(self, end: str) -> int:
        """Of the output: what the nodes say, since files often do not."""
        while end in self._producers:
            node = self._producers[end]
            if node.op_type in ("Gemm", "MatMul", "Flatten", "Reshape"):
                return 2
            if node.op_type in ("Conv", "MaxPool", "AveragePool", "GlobalAveragePool"):
                return 4
            if node.op_type == "ReduceMean":
                return 4 if _attributes(node).get("keepdims", 1) else 2
            end = node.input[0]
        return 2 if self._input()[1] == "NC" else 4

    def _refuse_rest(self) -> None:
        """Nodes that nothing can take."""
        known = {
            "QuantizeLinear", "DequantizeLinear", "Constant", "Gemm", "MatMul", "Conv", "Relu",
            "Clip", "MaxPool", "AveragePool", "GlobalAveragePool", "ReduceMean", "Add", "Concat",
            "Flatten", "Reshape", "Identity",
        }  # fmt: skip
        for node in self._onnx.node:
            if node.op_type not in known or node.domain not in ("", "ai.onnx"):
                raise ModelError(f"{_named(node)} is not supported; what is: {SUPPORTED}")

    # Nodes.

    def _dequantise(self, node: onnx.NodeProto) -> None:
        source = node.input[0]
        if source in self._constants:
            self._real[node.output[0]] = self._dequantised_constant(node)
        elif source in self._flat:
            self._real[node.output[0]] = _Flat(self._flat[source])
        elif source in self._tensors:
            tensor = self._tensors[source]
            scale, zero_point = self._scale(node)
            if (scale, zero_point) != (tensor.scale, tensor.zero_point):
                raise ModelError(f"{_named(node)}: not the scale that {source} was quantised with")
            self._real[node.output[0]] = source
        else:
            raise ModelError(f"{_named(node)}: {source} is not quantised by this model")

    def _dequantised_constant(self, node: onnx.NodeProto) -> _Constant:
        values = self._array(node.input[0], node)
        scale = self._array(node.input[1], node).astype(np.float32)
        zero = (
            self._array(node.input[2], node)
            if len(node.input) > 2 and node.input[2]
            else np.zeros(scale.shape, np.int64)
        )
        if values.dtype not in (np.int8, np.int32):
            raise ModelError(
                f"{_named(node)}: weights are int8 and biases int32, not {values.dtype}"
            )
        if np.any(zero != 0):
            raise ModelError(f"{_named(node)}: weights must be symmetric (zero point 0)")
        if not (np.isfinite(scale).all() and (scale > 0).all()):
            raise ModelError(f"{_named(node)}: a scale that is not positive and finite")
        return _Constant(values, scale, zero)

    def _quantised_constant(self, node: onnx.NodeProto) -> onnx.TensorProto:
        """Weights that are stored as float32 before their QuantizeLinear."""
        values, scale = (self._array(name, node).astype(np.float32) for name in node.input[:2])
        zero = self._array(node.input[2], node) if len(node.input) > 2 else np.zeros(1, np.uint8)
        if zero.dtype != np.int8 or not np.isfinite(values).all() or not (scale > 0).all():
            raise ModelError(f"{_named(node)}: finite weights to int8 only")
        if scale.size > 1:
            axis = _attributes(node).get("axis", 1) % values.ndim
            around = [1] * values.ndim
            around[axis] = -1
            scale, zero = scale.reshape(around), zero.reshape(around)
        whole = np.rint(values / scale) + zero
        return numpy_helper.from_array(np.clip(whole, -128, 127).astype(np.int8), node.output[0])

    def _quantise(self, node: onnx.NodeProto, input_name: str) -> None:
        target, source = node.output[0], node.input[0]
        if source in self._constants:
            self._constants[target] = self._quantised_constant(node)
            return
        scale, zero_point = self._scale(node)
        if source == input_name:
            self._tensors[target] = Tensor(target, self._sizes(source), scale, zero_point)
            return
        lo, hi = -128, 127
        while source in self._producers and self._producers[source].op_type in (
            "Relu", "Clip", "Identity",
        ):  # fmt: skip
            lo, hi = self._limits(self._producers[source], scale, zero_point, lo, hi)
            self._single(source)
            source = self._producers[source].input[0]
        if source not in self._producers:
            raise ModelError(f"{_named(node)}: nothing quantised comes before it")
        self._single(source)
        made = self._producers[source]
        makers = {
            "Conv": self._conv, "Gemm": self._gemm, "MatMul": self._gemm, "MaxPool": self._max,
            "AveragePool": self._average, "GlobalAveragePool": self._average,
            "ReduceMean": self._average, "Add": self._add, "Concat": self._concat,
            "Flatten": self._flatten,
            "Reshape": self._flatten, "DequantizeLinear": self._again,
        }  # fmt: skip
        if made.op_type not in makers:
            raise ModelError(f"{_named(made)} is not supported; what is: {SUPPORTED}")
        makers[made.op_type](made, target, scale, zero_point, lo, hi)

    def _again(
        self, node: onnx.NodeProto, target: str, scale: float, zero: int, lo: int, hi: int
    ) -> None:
        raise ModelError(
            f"{_named(node)}: a tensor is quantised twice with nothing between; quantise with one"
            " scale for it"
        )

    def _conv(
        self, node: onnx.NodeProto, target: str, scale: float, zero: int, lo: int, hi: int
    ) -> None:
        source, weight = self._tensor(node, 0), self._weight(node, 1)
        if weight.values.ndim != 4:
            raise ModelError(f"{_named(node)}: two-dimensional convolutions only")
        attributes = _attributes(node)
        channels, filters = source.shape[0], len(weight.values)
        group = attributes.get("group", 1)
        is_depthwise = group == channels == filters and group > 1
        if group != 1 and not is_depthwise:
            raise ModelError(f"{_named(node)}: {group} groups; 1, or one filter for each channel")
        window, (height, width) = self._window(node, weight.values.shape[2:], source)
        self._add_conv(
            node, source, weight, self._bias(node, 2, source, weight), window, is_depthwise,
            Tensor(target, (filters, height, width), scale, zero), lo, hi,
        )  # fmt: skip

    def _gemm(
        self, node: onnx.NodeProto, target: str, scale: float, zero: int, lo: int, hi: int
    ) -> None:
        attributes = _attributes(node)
        if attributes.get("alpha", 1.0) != 1 or attributes.get("beta", 1.0) != 1:
            raise ModelError(f"{_named(node)}: alpha and beta must be 1")
        if attributes.get("transA", 0):
            raise ModelError(f"{_named(node)}: transA is not supported")
        source, weight = self._tensor(node, 0, is_flat_fine=True), self._weight(node, 1)
        values = weight.values if attributes.get("transB", 0) else weight.values.T
        if values.ndim != 2 or values.shape[1] != math.prod(source.shape):
            raise ModelError(
                f"{_named(node)}: weights {list(weight.values.shape)} for an input of"
                f" {math.prod(source.shape)}"
            )
        # A kernel as large as the picture: rows of weights are in the order C, H, W.
        kernel = _Constant(
            values.reshape(len(values), *source.shape), weight.scale, weight.zero_point
        )
        bias = self._bias(node, 2, source, weight)
        _, height, width = source.shape
        self._add_conv(
            node, source, kernel, bias, Window((height, width)), False,
            Tensor(target, (len(values), 1, 1), scale, zero), lo, hi,
        )  # fmt: skip

    def _add_conv(
        self, node: onnx.NodeProto, source: Tensor, weight: _Constant, bias: Array, window: Window,
        is_depthwise: bool, target: Tensor, lo: int, hi: int,
    ) -> None:  # fmt: skip
        filters = target.shape[0]
        # In this order, each step in float32: onnxruntime's QLinearConv and QGemm.
        with np.errstate(over="ignore", under="ignore"):
            scale = np.float32(source.scale) * weight.scale / np.float32(target.scale)
        if not (np.isfinite(scale).all() and (scale > 2.0**-39).all() and (scale < 2.0**22).all()):
            raise ModelError(
                f"{_named(node)}: the scale of input times weight by output is"
                f" {float(scale.min()):.3g} to {float(scale.max()):.3g}; 2^-39 to 2^22 is possible"
            )
        if scale.size not in (1, filters):
            raise ModelError(f"{_named(node)}: {scale.size} scales for {filters} outputs")
        scale = np.broadcast_to(scale.astype(np.float32).reshape(-1), filters).copy()
        self._put(
            Conv(
                _label(node), source.name, target.name, weight.values, bias, scale,
                np.broadcast_to(weight.scale.reshape(-1), filters).copy(), window,
                is_depthwise, lo, hi,
            ),
            target,
        )  # fmt: skip

    def _bias(self, node: onnx.NodeProto, place: int, source: Tensor, weight: _Constant) -> Array:
        filters = weight.values.shape[0] if node.op_type == "Conv" else None
        if filters is None:
            is_turned = _attributes(node).get("transB", 0)
            filters = weight.values.shape[0 if is_turned else 1]
        if len(node.input) <= place or not node.input[place]:
            return np.zeros(filters, np.int64)
        found = self._real.get(node.input[place])
        if not isinstance(found, _Constant) or found.values.dtype != np.int32:
            raise ModelError(f"{_named(node)}: its bias must be a quantised int32 constant")
        expected = np.broadcast_to(np.float32(source.scale) * weight.scale, found.scale.shape)
        if not np.allclose(found.scale, expected, rtol=1e-5):
            raise ModelError(f"{_named(node)}: its bias must have the scale of input times weight")
        if found.values.size != filters:
            raise ModelError(f"{_named(node)}: a bias of {found.values.size} for {filters} outputs")
        return found.values.reshape(-1).astype(np.int64)

    def _max(
        self, node: onnx.NodeProto, target: str, scale: float, zero: int, lo: int, hi: int
    ) -> None:
        source = self._tensor(node, 0)
        if (scale, zero) != (source.scale, source.zero_point):
            raise ModelError(f"{_named(node)}: input and output must have one scale")
        window, (height, width) = self._window(node, _attributes(node).get("kernel_shape"), source)
        self._put(
            Max(_label(node), source.name, target, window, lo, hi),
            Tensor(target, (source.shape[0], height, width), scale, zero),
        )

    def _average(
        self, node: onnx.NodeProto, target: str, scale: float, zero: int, lo: int, hi: int
    ) -> None:
        source = self._tensor(node, 0)
        channels, height, width = source.shape
        if node.op_type == "AveragePool":
            kernel = _attributes(node).get("kernel_shape")
            window, (height, width) = self._window(node, kernel, source)
            if window.pads != (0, 0) or any(_attributes(node).get("pads", [])):
                raise ModelError(f"{_named(node)}: without padding, please")
        else:
            if node.op_type == "ReduceMean" and sorted(self._axes(node)) != [2, 3]:
                raise ModelError(f"{_named(node)}: over height and width only")
            if max(height, width) > MOST_KERNEL:
                raise ModelError(f"{_named(node)}: {height} x {width}; 15 x 15 at most")
            window = Window((height, width), (1, 1))
            height = width = 1
        count = window.kernel[0] * window.kernel[1]
        # Over all of a picture as onnxruntime's QLinearGlobalAveragePool has it, in float32.
        # Windows it averages in float32, which no integers follow: there the nearest factor.
        with np.errstate(all="ignore"):
            if node.op_type == "AveragePool":
                factor = np.float32(source.scale / (scale * count))
            else:
                factor = np.float32(source.scale) / (np.float32(scale) * np.float32(count))
        if not 2.0**-39 < factor < 2.0**22:
            raise ModelError(f"{_named(node)}: scales of input and output are too far apart")
        self._put(
            Average(_label(node), source.name, target, float(factor), window, lo, hi),
            Tensor(target, (channels, height, width), scale, zero),
        )

    def _axes(self, node: onnx.NodeProto) -> list[int]:
        axes = _attributes(node).get("axes")
        if axes is None and len(node.input) > 1:
            axes = self._array(node.input[1], node).tolist()
        return [axis % 4 for axis in axes or []]

    def _add(
        self, node: onnx.NodeProto, target: str, scale: float, zero: int, lo: int, hi: int
    ) -> None:
        a, b = self._tensor(node, 0), self._tensor(node, 1)
        if a.shape != b.shape:
            raise ModelError(f"{_named(node)}: {a.shape} and {b.shape} cannot be added")
        ma, mb, sh = addition.factors(a.scale, b.scale, scale)
        self._put(
            Add(_label(node), a.name, b.name, target, ma, mb, sh, lo, hi),
            Tensor(target, a.shape, scale, zero),
        )

    def _concat(
        self, node: onnx.NodeProto, target: str, scale: float, zero: int, lo: int, hi: int
    ) -> None:
        parts = [self._tensor(node, place) for place in range(len(node.input))]
        if _attributes(node).get("axis") != 1:
            raise ModelError(f"{_named(node)}: of channels (axis 1) only")
        if len({part.shape[1:] for part in parts}) != 1:
            raise ModelError(f"{_named(node)}: pictures of different sizes")
        scales = [float(np.float32(part.scale / scale)) for part in parts]
        if not all(2.0**-39 < each < 2.0**22 for each in scales):
            raise ModelError(f"{_named(node)}: scales of input and output are too far apart")
        channels = sum(part.shape[0] for part in parts)
        names = tuple(part.name for part in parts)
        self._put(
            Concat(_label(node), names, target, tuple(scales), lo, hi),
            Tensor(target, (channels, *parts[0].shape[1:]), scale, zero),
        )

    def _flatten(
        self, node: onnx.NodeProto, target: str, scale: float, zero: int, lo: int, hi: int
    ) -> None:
        source = self._tensor(node, 0, is_flat_fine=True)
        if (scale, zero, lo, hi) != (source.scale, source.zero_point, -128, 127):
            raise ModelError(f"{_named(node)}: input and output must have one scale")
        self._check_flat(node)
        self._flat[target] = source.name

    def _check_flat(self, node: onnx.NodeProto) -> None:
        if node.op_type == "Flatten":
            if _attributes(node).get("axis", 1) != 1:
                raise ModelError(f"{_named(node)}: from axis 1 only")
            return
        sizes = self._array(node.input[1], node).tolist()
        if len(sizes) != 2:
            raise ModelError(f"{_named(node)}: to a vector only, not {sizes}")

    # What they are made of.

    def _put(self, made: Node, target: Tensor) -> None:
        self._tensors[target.name] = target
        self._nodes.append(made)

    def _tensor(self, node: onnx.NodeProto, place: int, *, is_flat_fine: bool = False) -> Tensor:
        name = node.input[place]
        while name in self._producers and self._producers[name].op_type in ("Flatten", "Reshape"):
            if not is_flat_fine:
                break
            self._check_flat(self._producers[name])
            name = self._producers[name].input[0]
        found = self._real.get(name)
        if isinstance(found, _Flat) and is_flat_fine:
            return self._tensors[found.name]
        if not isinstance(found, str):
            raise ModelError(
                f"{_named(node)}: {name} is not a quantised tensor (of a supported shape)"
            )
        return self._tensors[found]

    def _weight(self, node: onnx.NodeProto, place: int) -> _Constant:
        found = self._real.get(node.input[place])
        if not isinstance(found, _Constant) or found.values.dtype != np.int8:
            raise ModelError(f"{_named(node)}: its weights must be a quantised int8 constant")
        return found

    def _window(
        self, node: onnx.NodeProto, kernel: Any, source: Tensor
    ) -> tuple[Window, tuple[int, int]]:
        """The window, and height and width of what comes out."""
        attributes = _attributes(node)
        strides = attributes.get("strides", [1, 1])
        pads = attributes.get("pads", [0, 0, 0, 0])
        way = attributes.get("auto_pad", b"NOTSET")
        if way not in (b"NOTSET", b"VALID"):
            raise ModelError(f"{_named(node)}: auto_pad is not supported; export explicit pads")
        if any(each != 1 for each in attributes.get("dilations", [1, 1])):
            raise ModelError(f"{_named(node)}: dilations are not supported")
        if attributes.get("ceil_mode", 0):
            raise ModelError(f"{_named(node)}: ceil_mode is not supported")
        if kernel is None or len(kernel) != 2 or len(strides) != 2 or len(pads) != 4:
            raise ModelError(f"{_named(node)}: two-dimensional windows only")
        limits = [*kernel, *strides]
        if not all(1 <= each <= MOST_KERNEL for each in limits) or not all(
            0 <= each <= MOST_KERNEL for each in pads
        ):
            raise ModelError(f"{_named(node)}: kernels, strides and pads are at most 15")
        _, height, width = source.shape
        sizes = (
            (height + pads[0] + pads[2] - kernel[0]) // strides[0] + 1,
            (width + pads[1] + pads[3] - kernel[1]) // strides[1] + 1,
        )
        if min(sizes) < 1:
            raise ModelError(f"{_named(node)}: its window is larger than {height} x {width}")
        window = Window((kernel[0], kernel[1]), (strides[0], strides[1]), (pads[0], pads[1]))
        return window, sizes

    def _limits(
        self, node: onnx.NodeProto, scale: float, zero: int, lo: int, hi: int
    ) -> tuple[int, int]:
        """In int8. They come from the end of the chain inwards."""
        if node.op_type == "Identity":
            return lo, hi
        least, most = 0.0, math.inf
        if node.op_type == "Clip":
            bounds = [
                float(self._array(node.input[place], node))
                if len(node.input) > place and node.input[place]
                else None
                for place in (1, 2)
            ]
            attributes = _attributes(node)
            least = bounds[0] if bounds[0] is not None else attributes.get("min", -math.inf)
            most = bounds[1] if bounds[1] is not None else attributes.get("max", math.inf)
        return (
            max(lo, _quantised(least, scale, zero)),
            min(hi, _quantised(most, scale, zero)),
        )

    def _single(self, name: str) -> None:
        if self._uses.get(name, 0) != 1:
            raise ModelError(
                f"{_named(self._producers[name])}: its real output is used more than once;"
                " quantise it first"
            )

    def _scale(self, node: onnx.NodeProto) -> tuple[float, int]:
        scale = self._array(node.input[1], node)
        if scale.size != 1:
            raise ModelError(f"{_named(node)}: activations have one scale each")
        zero = 0
        if len(node.input) > 2 and node.input[2]:
            array = self._array(node.input[2], node)
            if array.dtype not in (np.int8, np.uint8):
                raise ModelError(f"{_named(node)}: activations are int8, not {array.dtype}")
            # uint8 is int8 with everything 128 higher, the zero point too.
            zero = int(array.reshape(-1)[0]) - (128 if array.dtype == np.uint8 else 0)
        else:
            zero = -128  # without a zero point the type is uint8
        value = float(scale.astype(np.float32).reshape(-1)[0])
        if not (math.isfinite(value) and value > 0):
            raise ModelError(f"{_named(node)}: a scale that is not positive and finite")
        return value, zero

    def _array(self, name: str, node: onnx.NodeProto) -> Array:
        if name not in self._constants:
            raise ModelError(f"{_named(node)}: {name} must be a constant")
        try:
            return numpy_helper.to_array(self._constants[name])
        except Exception as error:
            raise ModelError(
                f"{_named(node)}: {name} cannot be read: {type(error).__name__}"
            ) from None


def _quantised(value: float, scale: float, zero: int) -> int:
    if math.isinf(value):
        return 127 if value > 0 else -128
    return int(np.clip(np.rint(np.float32(value) / np.float32(scale)) + zero, -128, 127))


def _attributes(node: onnx.NodeProto) -> dict[str, Any]:
    return {each.name: onnx.helper.get_attribute_value(each) for each in node.attribute}


def _constant(node: onnx.NodeProto) -> onnx.TensorProto:
    found = _attributes(node).get("value")
    if not isinstance(found, onnx.TensorProto):
        raise ModelError(f"{_named(node)}: a constant of a kind that is not supported")
    return found


def _label(node: onnx.NodeProto) -> str:
    return str(node.name or node.output[0])[:200]


def _named(node: onnx.NodeProto) -> str:
    return f"node {_label(node)!r} ({node.op_type})"
