"""A float model and some of its inputs to int8: onnxruntime's `quantize_static`, and what the
engine needs beyond that.

Before, the model is prepared (see preparation). Weights have 7 bits by default
(reduce_range): kernels of CPUs without VNNI saturate with 8, so only then does onnxruntime agree.
Tensors that are added get scales with few bits and power-of-two ratios: such an Add is exact in
float32 and in the engine alike.
"""

from __future__ import annotations

import logging
import math
import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper

from fpga.compiler.admission import admit
from fpga.compiler.batches import batch_of, batches
from fpga.compiler.onnx_file import OnnxFile
from fpga.compiler.preparation import prepared
from fpga.compiler.shapes import input_sizes
from fpga.compiler.view import SHAPES
from fpga.errors import ModelError

Array = Any
SCALE_BITS = 8
"""Of the significand of scales around an Add: products with int8 and their sum stay exact."""
_PATH = re.compile(r"/\S*/(\S+)")
"""A place on this machine, which is nobody's business; its last part may help."""


def quantise(
    model: onnx.ModelProto, calibration: Array, *, reduce_range: bool = True
) -> onnx.ModelProto:
    """A quantised model (QuantizeLinear, DequantizeLinear) from a float one.

    calibration: real inputs [rows, ...], a hundred or more. Raises ModelError.
    """
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    calibration = np.asarray(calibration, np.float32)
    if len(calibration) < 1 or not np.isfinite(calibration).all():
        raise ModelError("calibration needs inputs without nan or infinity")
    admit(model)
    input_sizes(OnnxFile(model))
    with _reported():
        plain = prepared(_checked(model))
        return harmonise(_quantised(plain, calibration, reduce_range))


def _quantised(model: onnx.ModelProto, rows: Array, reduce_range: bool) -> onnx.ModelProto:
    from onnxruntime.quantization import (
        CalibrationDataReader,
        QuantFormat,
        QuantType,
        quantize_static,
    )

    name, size = model.graph.input[0].name, batch_of(model)

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self._batches = batches(rows, size)

        def get_next(self) -> dict[str, Array] | None:
            found = next(self._batches, None)
            return None if found is None else {name: found[0]}

    with tempfile.TemporaryDirectory(prefix="inferry-quantise-") as folder:
        source, made = Path(folder) / "float.onnx", Path(folder) / "int8.onnx"
        onnx.save(model, source)
        quantize_static(
            str(source), str(made), Reader(), quant_format=QuantFormat.QDQ, per_channel=True,
            reduce_range=reduce_range, activation_type=QuantType.QInt8,
            weight_type=QuantType.QInt8,
            # Pools and reshapes of what is not quantised, as the input is not, are so too.
            extra_options={"ForceQuantizeNoInputCheck": True},
        )  # fmt: skip
        return onnx.load(made)


@contextmanager
def _reported() -> Iterator[None]:
    """onnxruntime's errors in a line, and its advice not at all."""
    quiet = logging.getLogger().level
    logging.getLogger().setLevel(logging.CRITICAL)  # it advises, and prints tracebacks
    try:
        yield
    except ModelError:
        raise
    except Exception as error:
        lines = str(error).strip().splitlines() or [""]
        reason = _PATH.sub(r"\1", lines[0])[:200]
        raise ModelError(
            f"onnxruntime cannot quantise the model: {type(error).__name__}: {reason}"
        ) from None
    finally:
        logging.getLogger().setLevel(quiet)


def _checked(model: onnx.ModelProto) -> onnx.ModelProto:
    for tensor in model.graph.initializer:
        if (
            tensor.data_type == onnx.TensorProto.FLOAT
            and not np.isfinite(numpy_helper.to_array(tensor)).all()
        ):
            raise ModelError(f"the weights {tensor.name} hold nan or infinity")
    return model


def harmonise(model: onnx.ModelProto) -> onnx.ModelProto:
    """Scales of tensors that meet in an Add: few bits, and powers of two apart. Each grows by less
    than a factor of two, so nothing saturates that did not. Their zero points become even, and
    those of averages: onnxruntime's QLinearAdd and QLinearAveragePool round after they have added
    the zero point, QuantizeLinear before, and halves go to the same side only with an even one."""
    made = onnx.ModelProto()
    made.CopyFrom(model)
    graph = made.graph
    quantised = {node.input[0]: node for node in graph.node if node.op_type == "QuantizeLinear"}
    behind = {node.output[0]: node for node in graph.node if node.op_type == "DequantizeLinear"}
    groups, added = _Groups(), set[str]()
    for node in graph.node:
        if node.op_type != "Add" or not all(name in behind for name in node.input):
            continue
        scales = [behind[name].input[1] for name in node.input]
        end = node.output[0]
        after = [each for each in graph.node if end in each.input]
        while len(after) == 1 and after[0].op_type in ("Relu", "Clip"):
            end = after[0].output[0]
            after = [each for each in graph.node if end in each.input]
        if end in quantised:
            scales.append(quantised[end].input[1])
        groups.join(scales)
        added.update(scales)
    # A MaxPool or a Reshape has one scale for what comes in and goes out, under two names.
    for node in graph.node:
        if node.op_type in ("MaxPool", *SHAPES) and node.input[0] in behind:
            names = [behind[node.input[0]].input[1]]
            if node.output[0] in quantised:
                names.append(quantised[node.output[0]].input[1])
            groups.join(names)
    _rescale(graph, groups)
    even = {name for group in groups.all() if group & added for name in group}
    for node in graph.node:
        if node.op_type == "AveragePool" and node.output[0] in quantised:
            even.add(quantised[node.output[0]].input[1])
    _make_even(graph, even)
    return made


def _make_even(graph: onnx.GraphProto, scales: set[str]) -> None:
    """The zero points that go with these scales, a step nearer to 0 where they are odd."""
    constants = {each.name: each for each in graph.initializer}
    ends = [n for n in graph.node if n.op_type in ("QuantizeLinear", "DequantizeLinear")]
    for name in {node.input[2] for node in ends if node.input[1] in scales}:
        old = numpy_helper.to_array(constants[name])
        even = np.where(old % 2 == 1, old - np.sign(old), old).astype(old.dtype)
        constants[name].CopyFrom(numpy_helper.from_array(even, name))


class _Groups:
    """Names that belong together."""

    def __init__(self) -> None:
        self._of: dict[str, set[str]] = {}

    def join(self, names: list[str]) -> None:
        whole = set(names).union(*(self._of.get(name, set()) for name in names))
        for name in whole:
            self._of[name] = whole

    def all(self) -> list[set[str]]:
        return [group for name, group in self._of.items() if name == min(group)]


def _rescale(graph: onnx.GraphProto, groups: _Groups) -> None:
    constants = {each.name: each for each in graph.initializer}
    for group in groups.all():
        values = {
            name: float(numpy_helper.to_array(constants[name]).reshape(-1)[0])
            for name in group
            if name in constants
        }
        if len(set(values.values())) < 2:
            continue
        largest = max(values.values())
        bits = math.floor(math.log2(largest)) - SCALE_BITS + 1
        unit = math.ceil(largest / 2.0**bits) * 2.0**bits
        for name, value in values.items():
            scale = unit * 2.0 ** math.ceil(math.log2(value / unit) - 1e-9)
            _replace_scale(graph, constants[name], np.float32(scale))


def _replace_scale(graph: onnx.GraphProto, tensor: onnx.TensorProto, scale: Any) -> None:
    """And the biases whose scale is made of it."""
    old = numpy_helper.to_array(tensor)
    new = np.full(old.shape, scale, np.float32)
    tensor.CopyFrom(numpy_helper.from_array(new, tensor.name))
    factor = float(new.reshape(-1)[0]) / float(old.reshape(-1)[0])
    if factor == 1.0:
        return
    constants = {each.name: each for each in graph.initializer}
    behind = {node.output[0]: node for node in graph.node if node.op_type == "DequantizeLinear"}
    for node in graph.node:
        if node.op_type not in ("Conv", "Gemm") or len(node.input) < 3:
            continue
        source, bias = behind.get(node.input[0]), behind.get(node.input[2])
        if source is None or bias is None or source.input[1] != tensor.name:
            continue
        values, scales = constants[bias.input[0]], constants[bias.input[1]]
        numbers = np.rint(numpy_helper.to_array(values) / factor).astype(np.int32)
        values.CopyFrom(numpy_helper.from_array(numbers, values.name))
        weight = numpy_helper.to_array(constants[behind[node.input[1]].input[1]])
        scales.CopyFrom(
            numpy_helper.from_array(
                (np.float32(scale) * weight)
                .astype(np.float32)
                .reshape(numpy_helper.to_array(scales).shape),
                scales.name,
            )
        )
