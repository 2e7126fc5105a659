"""A quantised ONNX model (QuantizeLinear and DequantizeLinear around every operator) as a Graph.

What the engine cannot do is refused by the name of its node. The model may come from
fpga/compiler/quantisation.py or from elsewhere.
"""

from __future__ import annotations

import onnx

from fpga.compiler.graph import Graph, Node, Tensor, read_by
from fpga.compiler.onnx_file import OnnxFile, constant, named
from fpga.compiler.operators import OPERATORS, End
from fpga.compiler.qdq import Flat, Values, limits, quantised_constant, scale_of
from fpga.compiler.shapes import check_flat, input_sizes, output_rank
from fpga.compiler.tail import split_tail
from fpga.errors import ModelError

SUPPORTED = (
    "Gemm, MatMul, Conv, Relu, Clip, MaxPool, AveragePool, GlobalAveragePool, ReduceMean over"
    " height and width, Add of two tensors, Concat of channels, Flatten and Reshape to a vector;"
    " and on the host, when allowed, Softmax, Sigmoid and ArgMax at the end"
)
_LIMITS = ("Relu", "Clip", "Identity")
_FLAT = ("Flatten", "Reshape")
_KNOWN = {*OPERATORS, *_LIMITS, *_FLAT, "QuantizeLinear", "DequantizeLinear", "Constant"}


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
        self._file = OnnxFile(model)
        self._values = Values(self._file)
        self._tail = tail
        self._nodes: list[Node] = []

    def graph(self) -> Graph:
        input_name = self._file.input().name
        sizes, layout = input_sizes(self._file)
        end = self._file.output()
        for node in self._file.nodes:
            if node.op_type == "QuantizeLinear":
                self._quantise(node, input_name, sizes)
            elif node.op_type == "DequantizeLinear":
                self._values.dequantise(node)
            elif node.op_type == "Constant":
                self._file.keep(node.output[0], constant(node))
        self._refuse_rest()
        if not self._nodes:
            raise ModelError("the model computes nothing that the engine could: is it quantised?")
        found, tail = self._end(end)
        made = {node.target for node in self._nodes}
        if found not in made:
            raise ModelError(f"the output {end} is not computed by anything")
        tensors = self._values.tensors
        source = next(name for name in tensors if name not in made)
        is_vector = tensors[found].shape[1:] == (1, 1) and output_rank(self._file, end) == 2
        return Graph(
            self._file.name, tensors, self._needed(found), source, found,
            input_name, end, (layout, "NC" if is_vector else "NCHW"), tail,
        )  # fmt: skip

    def _end(self, end: str) -> tuple[str, tuple[str, ...]]:
        """(the int8 tensor that goes out, what the host does with it)."""
        found, tail = self._values.behind(end), self._tail
        if isinstance(found, Flat):
            found = found.name
            if self._values.tensors[found].shape[1:] != (1, 1):
                tail = ("flatten", *tail)
        if not isinstance(found, str) or found not in self._values.tensors:
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

    def _refuse_rest(self) -> None:
        """Nodes that nothing can take."""
        for node in self._file.nodes:
            if node.op_type not in _KNOWN or node.domain not in ("", "ai.onnx"):
                raise ModelError(f"{named(node)} is not supported; what is: {SUPPORTED}")

    def _quantise(self, node: onnx.NodeProto, input_name: str, sizes: tuple[int, int, int]) -> None:
        """What comes before a QuantizeLinear, up to the DequantizeLinears, as one node."""
        target, source, file = node.output[0], node.input[0], self._file
        if file.is_constant(source):
            file.keep(target, quantised_constant(file, node))
            return
        scale, zero_point = scale_of(file, node)
        if source == input_name:
            self._values.tensors[target] = Tensor(target, sizes, scale, zero_point)
            return
        lo, hi = -128, 127
        while source in file.producers and file.producers[source].op_type in _LIMITS:
            lo, hi = limits(file, file.producers[source], scale, zero_point, lo, hi)
            file.single(source)
            source = file.producers[source].input[0]
        if source not in file.producers:
            raise ModelError(f"{named(node)}: nothing quantised comes before it")
        file.single(source)
        self._put(file.producers[source], End(target, scale, zero_point, lo, hi))

    def _put(self, node: onnx.NodeProto, end: End) -> None:
        if node.op_type in _FLAT:
            self._flatten(node, end)
        elif node.op_type == "DequantizeLinear":
            raise ModelError(
                f"{named(node)}: a tensor is quantised twice with nothing between; quantise with"
                " one scale for it"
            )
        elif node.op_type not in OPERATORS:
            raise ModelError(f"{named(node)} is not supported; what is: {SUPPORTED}")
        else:
            made, target = OPERATORS[node.op_type](self._file, self._values, node, end)
            self._values.tensors[target.name] = target
            self._nodes.append(made)

    def _flatten(self, node: onnx.NodeProto, end: End) -> None:
        source = self._values.tensor(node, 0, is_flat_fine=True)
        whole = (source.scale, source.zero_point, -128, 127)
        if (*end.quantisation, end.lo, end.hi) != whole:
            raise ModelError(f"{named(node)}: input and output must have one scale")
        check_flat(self._file, node)
        self._values.flat[end.target] = source.name
