"""A float model in the words that the quantiser and the importer know: a newer opset, constants
folded (onnxruntime), and operators that say the same as others."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import numpy as np
import onnx
from onnx import version_converter

from fpga.compiler.affine import ARITHMETIC, fold_affine
from fpga.compiler.float_graph import FloatGraph, make
from fpga.compiler.limits import LIMITS
from fpga.compiler.onnx_file import attributes, named
from fpga.compiler.view import SHAPES
from fpga.errors import ModelError

LEAST_OPSET, NEW_OPSET = 13, 17
"""Before 13 a DequantizeLinear knows no scales for each channel."""


def prepared(model: onnx.ModelProto) -> onnx.ModelProto:
    """The same function. Raises ModelError; onnxruntime's own errors go through."""
    model = _with_new_opset(model)
    graph = FloatGraph(_folded(_without_scalers(model)))
    _refuse_turned(graph)
    _limits_first(graph)
    _transposes_first(graph)
    _means(graph)
    _pads(graph)
    _plain_gemms(graph)
    fold_affine(graph)
    _matmuls(graph)
    graph.drop_unused()
    return graph.model


def _with_new_opset(model: onnx.ModelProto) -> onnx.ModelProto:
    opset = next(each.version for each in model.opset_import if each.domain in ("", "ai.onnx"))
    if opset >= LEAST_OPSET:
        return model
    try:
        return version_converter.convert_version(model, NEW_OPSET)
    except Exception as error:
        raise ModelError(
            f"operators of version {opset} cannot be taken for those of version {NEW_OPSET}"
            f" ({type(error).__name__}): export the model with opset {LEAST_OPSET} or later"
        ) from None


def _without_scalers(model: onnx.ModelProto) -> onnx.ModelProto:
    """scikit-learn's Scaler is a Sub and a Mul, whose sizes ONNX knows."""
    graph = FloatGraph(model)
    for node in graph.nodes:
        if node.op_type != "Scaler":
            continue
        ends = [
            graph.add_constant(np.asarray(attributes(node).get(name, [other]), np.float32))
            for name, other in (("offset", 0.0), ("scale", 1.0))
        ]
        inner, end = graph.new_name(node.output[0]), node.output[0]
        minus = make("Sub", [node.input[0], ends[0]], inner, f"{node.name or end} offset")
        graph.replace([node], [minus, make("Mul", [inner, ends[1]], end, node.name or end)])
    return graph.model


def _folded(model: onnx.ModelProto) -> onnx.ModelProto:
    """By onnxruntime: constants, Identity, Dropout, what follows a Conv."""
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    from onnxruntime.quantization.shape_inference import quant_pre_process

    with tempfile.TemporaryDirectory(prefix="inferry-prepare-") as folder:
        source, made = Path(folder) / "float.onnx", Path(folder) / "plain.onnx"
        onnx.save(model, source)
        quant_pre_process(str(source), str(made), skip_symbolic_shape=True)
        return onnx.load(made)


def _refuse_turned(graph: FloatGraph) -> None:
    """Samples are rows; onnxruntime would only say that some sizes differ."""
    for node in graph.nodes:
        if node.op_type == "Gemm" and attributes(node).get("transA", 0):
            raise ModelError(f"{named(node)}: transA is not supported: each row is a sample")
        if node.op_type == "MatMul" and graph.constant(node.input[0]) is not None:
            raise ModelError(f"{named(node)}: the constant is its second input: x times weights")


def _transposes_first(graph: FloatGraph) -> None:
    """What is done to each channel of [N, H, W, C] before it becomes [N, C, H, W] is done after."""
    while True:
        for node in graph.nodes:
            after = graph.only_reader(node.output[0]) if node.op_type in ARITHMETIC else None
            if after is None or attributes(after).get("perm") != [0, 3, 1, 2]:
                continue
            place = 1 if graph.constant(node.input[0]) is None else 0
            values = graph.constant(node.input[place])
            if values is None or graph.constant(node.input[1 - place]) is not None:
                continue
            whole = values.reshape((1,) * (4 - values.ndim) + values.shape).transpose(0, 3, 1, 2)
            inner = graph.new_name(after.output[0], graph.sizes(after.output[0]))
            names = [inner, inner]
            names[place] = graph.add_constant(np.ascontiguousarray(whole))
            turn = make("Transpose", [node.input[1 - place]], inner, after.name, perm=[0, 3, 1, 2])
            graph.replace(
                [node, after], [turn, make(node.op_type, names, after.output[0], node.name)]
            )
            break
        else:
            return


def _limits_first(graph: FloatGraph) -> None:
    """A Relu after a MaxPool or a reshape goes before it, where an operator takes it along."""
    while True:
        for node in graph.nodes:
            before = graph.maker(node.input[0]) if node.op_type in LIMITS else None
            if before is None or before.op_type not in ("MaxPool", *SHAPES):
                continue
            if graph.only_reader(node.input[0]) is None or len(before.output) != 1:
                continue
            inner = graph.new_name(node.output[0], graph.sizes(before.input[0]))
            first = make(node.op_type, [before.input[0], *node.input[1:]], inner, node.name)
            first.attribute.extend(node.attribute)
            then = make(before.op_type, [inner, *before.input[1:]], node.output[0], before.name)
            then.attribute.extend(before.attribute)
            graph.replace([before, node], [first, then])
            break
        else:
            return


def _means(graph: FloatGraph) -> None:
    """ReduceMean over height and width is a GlobalAveragePool."""
    for node in graph.nodes:
        if node.op_type != "ReduceMean" or len(graph.sizes(node.input[0]) or ()) != 3:
            continue
        axes = attributes(node).get("axes")
        if axes is None and len(node.input) > 1:
            found = graph.constant(node.input[1])
            axes = None if found is None else found.tolist()
        if axes is None or sorted(axis % 4 for axis in axes) != [2, 3]:
            continue
        end, name = node.output[0], node.name or node.output[0]
        if attributes(node).get("keepdims", 1):
            graph.replace([node], [make("GlobalAveragePool", [node.input[0]], end, name)])
            continue
        inner = graph.new_name(end)
        pool = make("GlobalAveragePool", [node.input[0]], inner, name)
        graph.replace([node], [pool, make("Flatten", [inner], end, f"{name} flat", axis=1)])


def _pads(graph: FloatGraph) -> None:
    """A Pad with 0 of a picture is part of the Conv after it."""
    for node in graph.nodes:
        after = graph.only_reader(node.output[0]) if node.op_type == "Pad" else None
        pads = graph.constant(node.input[1]) if after is not None else None
        if after is None or after.op_type != "Conv" or pads is None or pads.size != 8:
            continue
        value = graph.constant(node.input[2]) if len(node.input) > 2 and node.input[2] else 0
        mode = attributes(node).get("mode", b"constant")
        more = attributes(after)
        rest = [*pads[:2], *pads[4:6]]
        is_plain = more.get("auto_pad", b"NOTSET") in (b"NOTSET", b"VALID")
        if mode != b"constant" or value is None or np.any(value) or any(rest) or not is_plain:
            continue
        if len(node.input) > 3 or pads.min() < 0:
            continue
        own = more.get("pads", [0, 0, 0, 0])
        whole = [int(a) + b for a, b in zip([*pads[2:4], *pads[6:8]], own, strict=True)]
        more.pop("auto_pad", None)
        new = make("Conv", [node.input[0], *after.input[1:]], after.output[0], after.name,
                   **{**more, "pads": whole})  # fmt: skip
        graph.replace([node, after], [new])


def _plain_gemms(graph: FloatGraph) -> None:
    """alpha and beta into the weights; a bias of one number for all outputs."""
    for node in graph.nodes:
        weight = graph.constant(node.input[1]) if node.op_type == "Gemm" else None
        if weight is None or weight.ndim != 2 or attributes(node).get("transA", 0):
            continue
        more = attributes(node)
        outputs = weight.shape[0 if more.get("transB", 0) else 1]
        is_scaled = more.get("alpha", 1.0) != 1 or more.get("beta", 1.0) != 1
        bias = graph.constant(node.input[2]) if len(node.input) > 2 and node.input[2] else None
        if not is_scaled and (bias is None or bias.shape == (outputs,)):
            continue
        inputs = [node.input[0], graph.add_constant(weight * np.float32(more.get("alpha", 1.0)))]
        if len(node.input) > 2 and node.input[2]:
            bias = graph.constant(node.input[2])
            if bias is None or bias.size not in (1, outputs):
                continue
            whole = np.broadcast_to(bias.reshape(-1), outputs) * np.float32(more.get("beta", 1.0))
            inputs.append(graph.add_constant(whole.astype(np.float32)))
        new = make("Gemm", inputs, node.output[0], node.name, transB=more.get("transB", 0))
        graph.replace([node], [new])


def _matmuls(graph: FloatGraph) -> None:
    """MatMul of samples that are vectors, with a constant, is a Gemm."""
    for node in graph.nodes:
        weight = graph.constant(node.input[1]) if node.op_type == "MatMul" else None
        sizes = graph.sizes(node.input[0])
        if weight is None or weight.ndim != 2 or sizes is None or len(sizes) != 1:
            continue
        graph.replace([node], [make("Gemm", list(node.input), node.output[0], node.name)])
