"""A quantised ONNX model (QuantizeLinear and DequantizeLinear around every operator) as a Graph.

What the engine cannot do is refused by the name of its node. The model may come from
fpga/compiler/quantisation.py or from elsewhere.
"""

from __future__ import annotations

from dataclasses import replace

import onnx

from fpga.compiler.constants import quantised_constant, scale_of
from fpga.compiler.graph import Graph, Max, Node, Tensor, Window, read_by
from fpga.compiler.limits import LIMITS, within
from fpga.compiler.onnx_file import OnnxFile, attributes, constant, label, named
from fpga.compiler.operators import OPERATORS, End, Made, again
from fpga.compiler.qdq import Values
from fpga.compiler.shapes import input_sizes
from fpga.compiler.tail import split_tail
from fpga.compiler.view import SHAPES, View, reshaped
from fpga.errors import ModelError

SUPPORTED = (
    "Gemm, MatMul, Conv, Relu, Clip, MaxPool, AveragePool, GlobalAveragePool, ReduceMean over"
    " height and width, Add of two tensors, Concat of channels, Flatten, Reshape, Squeeze,"
    " Transpose from NCHW to NHWC; and on the host, when allowed, Softmax, Sigmoid and ArgMax at"
    " the end"
)
_KNOWN = {*OPERATORS, *LIMITS, *SHAPES, "QuantizeLinear", "DequantizeLinear", "Constant"}


def import_graph(model: onnx.ModelProto, *, allow_host: bool = False) -> Graph:
    """The graph of a quantised model.

    allow_host: a Softmax or ArgMax at the end may be left to the host. Raises ModelError.
    """
    model, tail = split_tail(model, allow_host=allow_host)
    try:
        return _Importer(model, tail).graph()
    except RecursionError:
        raise ModelError("the model is too deep: leave out what computes nothing") from None
    except (IndexError, KeyError, ValueError, TypeError, AttributeError, OverflowError) as error:
        raise ModelError(f"the model is malformed: {type(error).__name__}: {error}") from None


class _Importer:
    def __init__(self, model: onnx.ModelProto, tail: tuple[str, ...]) -> None:
        self._file = OnnxFile(model)
        self._values = Values(self._file)
        self._tail = tail
        self._nodes: list[Node] = []
        self._source: Tensor | None = None
        self._known: dict[tuple[str, End], tuple[Tensor, View]] = {}

    def graph(self) -> Graph:
        input_name, end = self._file.input().name, self._file.output()
        self._refuse_unknown()
        whole = self._input_view(input_name, input_sizes(self._file))
        for node in self._file.nodes:
            if node.op_type == "QuantizeLinear":
                self._quantise(node, input_name, whole)
            elif node.op_type == "DequantizeLinear":
                self._values.dequantise(node)
            elif node.op_type == "Constant":
                self._file.keep(node.output[0], constant(node))
        if not self._nodes or self._source is None:
            raise ModelError("the model computes nothing that the engine could: is it quantised?")
        view, layout, tail = self._end(end)
        if view.name not in {node.target for node in self._nodes}:
            raise ModelError(f"the output {end} is not computed by anything")
        layouts = "NC" if len(whole.sizes) == 1 else whole.layout, layout
        return Graph(
            self._file.name, self._values.tensors, self._needed(view.name), self._source.name,
            view.name, input_name, end, layouts, tail,
        )  # fmt: skip

    def _refuse_unknown(self) -> None:
        """Nodes that nothing can take."""
        for node in self._file.nodes:
            if node.op_type not in _KNOWN or node.domain not in ("", "ai.onnx"):
                if node.op_type.startswith(("QLinear", "QGemm")):
                    raise ModelError(
                        f"{named(node)} is not supported: quantise in the format QDQ, with"
                        " QuantizeLinear and DequantizeLinear"
                    )
                raise ModelError(f"{named(node)} is not supported; what is: {SUPPORTED}")

    def _input_view(self, name: str, sizes: tuple[int, ...]) -> View:
        """[N, H, W, C] is what a Transpose makes [N, C, H, W] of, at once."""
        readers = self._file.readers(name)
        while readers and all(
            node.op_type in ("QuantizeLinear", "DequantizeLinear", "Identity") for node in readers
        ):
            readers = [each for node in readers for each in self._file.readers(node.output[0])]
        turned = [attributes(node).get("perm") == [0, 3, 1, 2] for node in readers]
        is_turned = len(sizes) == 3 and bool(turned) and all(turned)
        return View("", sizes, "NHWC" if is_turned else "NCHW")

    def _end(self, end: str) -> tuple[View, str, tuple[str, ...]]:
        """(the int8 tensor that goes out, its layout, what the host does with it)."""
        found = self._values.views.get(end) or self._values.real(end)
        if not isinstance(found, View):
            raise ModelError(
                f"the output {end} is not a quantised tensor: quantise the model to its end, or"
                " allow the host to do the rest"
            )
        tensor = self._values.tensors[found.name]
        channels, height, width = tensor.shape
        if found.sizes == (channels,) and (height, width) == (1, 1):
            return found, "NC", self._tail
        if len(found.sizes) == 1:
            return found, found.layout, ("flatten", *self._tail)
        wanted = (height, width, channels) if found.layout == "NHWC" else tensor.shape
        if found.sizes != wanted:
            raise ModelError(
                f"the output {end} has the sizes {list(found.sizes)}; what the engine gives is"
                f" {list(wanted)} or flat: leave the last reshape to the host"
            )
        return found, found.layout, self._tail

    def _needed(self, end: str) -> tuple[Node, ...]:
        """The nodes that the output is made of."""
        wanted, found = {end}, []
        for node in reversed(self._nodes):
            if node.target in wanted:
                found.append(node)
                wanted.update(read_by(node))
        return tuple(reversed(found))

    def _quantise(self, node: onnx.NodeProto, input_name: str, whole: View) -> None:
        """What comes before a QuantizeLinear, up to the DequantizeLinears, as one node."""
        target, name, file = node.output[0], node.input[0], self._file
        if file.is_constant(name):
            file.keep(target, quantised_constant(file, node))
            return
        scale, zero = scale_of(file, node)
        limits, shapes = (-128, 127), []
        while name in file.producers and file.producers[name].op_type in (*LIMITS, *SHAPES):
            maker = file.producers[name]
            if maker.op_type in LIMITS:
                limits = within(file, maker, scale, zero, limits)
            else:
                shapes.append(maker)
            name = maker.input[0]
        end = End(target, scale, zero, *limits)
        if name == input_name:
            tensor, view = self._input(node, end, whole)
        elif name not in file.producers:
            raise ModelError(f"{named(node)}: nothing quantised comes before it")
        else:
            tensor, view = self._made(file.producers[name], name, end)
        for each in reversed(shapes):
            view = reshaped(file, each, view, tensor)
        self._values.put(target, tensor, view)

    def _input(self, node: onnx.NodeProto, end: End, whole: View) -> tuple[Tensor, View]:
        """The input, and what limits leave of it."""
        sizes = whole.sizes
        shape = (sizes[0], 1, 1) if len(sizes) == 1 else (sizes[0], sizes[1], sizes[2])
        if whole.layout == "NHWC":
            shape = (shape[2], shape[0], shape[1])
        name = f"{end.target} before limits" if end.is_limited else end.target
        source = self._source or Tensor(name, shape, end.scale, end.zero_point)
        if end.quantisation != (source.scale, source.zero_point):
            raise ModelError(
                f"{named(node)}: the input is quantised twice; one scale for it, please"
            )
        self._source = source
        self._values.tensors[source.name] = source
        if not end.is_limited:
            return source, replace(whole, name=source.name)
        made = Max(label(node), source.name, end.target, Window(), end.lo, end.hi)
        self._nodes.append(made)
        return end.tensor(shape), replace(whole, name=end.target)

    def _made(self, node: onnx.NodeProto, name: str, end: End) -> tuple[Tensor, View]:
        """By an operator; or a tensor that is quantised anew."""
        if node.op_type == "DequantizeLinear":
            view = self._values.real(name)
            if not isinstance(view, View):
                raise ModelError(f"{named(node)}: a constant where a tensor belongs")
            tensor = self._values.tensors[view.name]
            if end.quantisation == (tensor.scale, tensor.zero_point) and not end.is_limited:
                return tensor, view
            return self._added(again(node, self._values, view, end))
        if node.op_type not in OPERATORS:
            raise ModelError(f"{named(node)} is not supported; what is: {SUPPORTED}")
        known = name, replace(end, target="")
        if known not in self._known:  # where two QuantizeLinears agree, it is computed once
            made = OPERATORS[node.op_type](self._file, self._values, node, end)
            self._known[known] = self._added(made)
        return self._known[known]

    def _added(self, made: Made) -> tuple[Tensor, View]:
        node, tensor, view = made
        self._nodes.append(node)
        return tensor, view
