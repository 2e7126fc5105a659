"""A graph in onnxruntime's own integer operators (QLinearConv, QGemm, QLinearAdd, ...).

Default optimisation turns only some QuantizeLinear/DequantizeLinear pairs into these, and computes
the rest in float32, where sums are rounded; so integers are compared with integers here. The
kernels are those of this machine's CPU: `kernels()` says which.
"""

from __future__ import annotations

import platform
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto, helper, numpy_helper

from fpga.compiler.graph import Add, Average, Concat, Conv, Graph, Node

Array = Any
MICROSOFT = "com.microsoft"


def kernels() -> str:
    """Which kernels compute: their version, and what the CPU has for int8."""
    path = Path("/proc/cpuinfo")
    flags = set(path.read_text().split()) if path.exists() else set()
    has = [name for name in ("avx2", "avx_vnni", "avx512_vnni", "asimddp") if name in flags]
    return f"onnxruntime {ort.__version__}, {platform.machine()}: {', '.join(has) or 'none'}"


class Oracle:
    """The graph's every tensor, as onnxruntime computes it. ``inputs``: where it is not only the
    graph's own."""

    def __init__(self, graph: Graph, inputs: tuple[str, ...] = ()) -> None:
        self._graph = graph
        self._inputs = inputs or (graph.input,)
        self._constants: list[onnx.TensorProto] = []
        self._nodes: list[onnx.NodeProto] = []
        for node in graph.nodes:
            self._put(node)
        self._names = [node.target for node in graph.nodes]
        options = ort.SessionOptions()
        options.log_severity_level = 3
        self._session = ort.InferenceSession(
            self._model().SerializeToString(), options, providers=["CPUExecutionProvider"]
        )

    def run(self, values: Array) -> dict[str, Array]:
        """From the input int8 [B, C, H, W]: tensors by name, in the graph's shapes."""
        return self.run_all({self._graph.input: values})

    def run_all(self, inputs: dict[str, Array]) -> dict[str, Array]:
        """The same, from several."""
        found = self._session.run(self._names, inputs)
        samples = len(next(iter(inputs.values())))
        shapes = [self._graph.tensors[name].shape for name in self._names]
        return {
            name: each.reshape(samples, *shape)
            for name, each, shape in zip(self._names, found, shapes, strict=True)
        }

    def _constant(self, values: Array) -> str:
        name = f"constant {len(self._constants)}"
        self._constants.append(numpy_helper.from_array(np.asarray(values), name))
        return name

    def _quantisation(self, tensor: str) -> tuple[str, str]:
        found = self._graph.tensors[tensor]
        return self._constant(np.float32(found.scale)), self._constant(np.int8(found.zero_point))

    def _put(self, node: Node) -> None:
        target = self._graph.tensors[node.target]
        makers = {
            Conv: self._conv, Average: self._average, Add: self._add, Concat: self._concat,
        }  # fmt: skip
        name = node.target
        clips = (node.lo, node.hi) != (-128, 127)
        out = f"{name} before limits" if clips else name
        makers.get(type(node), self._max)(node, out)  # type: ignore[operator]
        if clips:
            limits = [self._constant(np.int8(each)) for each in (node.lo, node.hi)]
            self._nodes.append(helper.make_node("Clip", [out, *limits], [name]))
        assert target.name == name

    def _conv(self, node: Conv, out: str) -> None:
        shape = self._graph.tensors[node.source].shape
        window, (_, height, width) = node.window, self._graph.tensors[node.target].shape
        scales = self._constant(node.weight_scale)
        zeros = self._constant(np.zeros(len(node.weight), np.int8))
        source, target = self._quantisation(node.source), self._quantisation(node.target)
        bias = self._constant(node.bias.astype(np.int32))
        if shape[1:] == window.kernel == (1, 1) and not node.is_depthwise:
            flat, matrix, made = f"{out} in", f"{out} matrix", f"{out} vector"
            size = self._constant(np.array([0, -1], np.int64))
            self._nodes.append(helper.make_node("Reshape", [node.source, size], [flat]))
            weight = self._constant(node.weight.reshape(len(node.weight), -1))
            self._nodes.append(
                helper.make_node(
                    "QGemm", [flat, *source, weight, scales, zeros, bias, *target], [made],
                    domain=MICROSOFT, transB=1,
                )
            )  # fmt: skip
            shape_out = self._constant(np.array([0, len(node.weight), 1, 1], np.int64))
            self._nodes.append(helper.make_node("Reshape", [made, shape_out], [out]))
            del matrix
            return
        below = max(
            0, (height - 1) * window.strides[0] + window.kernel[0] - window.pads[0] - shape[1]
        )
        right = max(
            0, (width - 1) * window.strides[1] + window.kernel[1] - window.pads[1] - shape[2]
        )
        self._nodes.append(
            helper.make_node(
                "QLinearConv",
                [node.source, *source, self._constant(node.weight), scales, zeros, *target, bias],
                [out], strides=window.strides, pads=[*window.pads, below, right],
                group=len(node.weight) if node.is_depthwise else 1,
            )
        )  # fmt: skip

    def _average(self, node: Average, out: str) -> None:
        inputs = [node.source, *self._quantisation(node.source), *self._quantisation(node.target)]
        shape = self._graph.tensors[node.source].shape
        if node.window.kernel == shape[1:]:
            made = helper.make_node("QLinearGlobalAveragePool", inputs, [out], domain=MICROSOFT)
        else:
            made = helper.make_node(
                "QLinearAveragePool", inputs, [out], domain=MICROSOFT,
                kernel_shape=node.window.kernel, strides=node.window.strides,
            )  # fmt: skip
        self._nodes.append(made)

    def _max(self, node: Any, out: str) -> None:
        window, shape = node.window, self._graph.tensors[node.source].shape
        _, height, width = self._graph.tensors[node.target].shape
        below = max(
            0, (height - 1) * window.strides[0] + window.kernel[0] - window.pads[0] - shape[1]
        )
        right = max(
            0, (width - 1) * window.strides[1] + window.kernel[1] - window.pads[1] - shape[2]
        )
        self._nodes.append(
            helper.make_node(
                "MaxPool", [node.source], [out], kernel_shape=window.kernel,
                strides=window.strides, pads=[*window.pads, below, right],
            )
        )  # fmt: skip

    def _add(self, node: Add, out: str) -> None:
        inputs = [node.a, *self._quantisation(node.a), node.b, *self._quantisation(node.b)]
        made = helper.make_node(
            "QLinearAdd", [*inputs, *self._quantisation(node.target)], [out], domain=MICROSOFT
        )
        self._nodes.append(made)

    def _concat(self, node: Concat, out: str) -> None:
        inputs = [*self._quantisation(node.target)]
        for name in node.parts:
            inputs += [name, *self._quantisation(name)]
        made = helper.make_node("QLinearConcat", inputs, [out], domain=MICROSOFT, axis=1)
        self._nodes.append(made)

    def _model(self) -> onnx.ModelProto:
        inputs = [self._graph.tensors[name] for name in self._inputs]
        graph = helper.make_graph(
            self._nodes,
            self._graph.name,
            [
                helper.make_tensor_value_info(each.name, TensorProto.INT8, ["N", *each.shape])
                for each in inputs
            ],
            [
                helper.make_tensor_value_info(n.target, TensorProto.INT8, None)
                for n in self._graph.nodes
            ],
            self._constants,
        )
        opsets = [helper.make_opsetid("", 17), helper.make_opsetid(MICROSOFT, 1)]
        made = helper.make_model(graph, opset_imports=opsets)
        made.ir_version = 8
        return made
