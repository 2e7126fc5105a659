"""What Relu and Clip leave of int8, before a QuantizeLinear."""

from __future__ import annotations

import math

import numpy as np
import onnx

from fpga.compiler.onnx_file import OnnxFile, attributes, named
from fpga.errors import ModelError

LIMITS = ("Relu", "Clip")


def within(
    file: OnnxFile, node: onnx.NodeProto, scale: float, zero: int, outer: tuple[int, int]
) -> tuple[int, int]:
    """The limits of what goes through ``node`` and then through ``outer``. Raises ModelError."""
    least, most = (0.0, math.inf) if node.op_type == "Relu" else _bounds(file, node)
    lo, hi = (_quantised(each, scale, zero) for each in (min(least, most), most))
    return int(np.clip(lo, *outer)), int(np.clip(hi, *outer))


def _bounds(file: OnnxFile, node: onnx.NodeProto) -> tuple[float, float]:
    """Of a Clip: constants, or attributes as it was once."""
    found = [attributes(node).get("min", -math.inf), attributes(node).get("max", math.inf)]
    for place in (1, 2):
        if len(node.input) > place and node.input[place]:
            found[place - 1] = float(file.array(node.input[place], node).reshape(-1)[0])
    if any(math.isnan(each) for each in found):
        raise ModelError(f"{named(node)}: its limits are numbers")
    return found[0], found[1]


def _quantised(value: float, scale: float, zero: int) -> int:
    if math.isinf(value):
        return 127 if value > 0 else -128
    with np.errstate(over="ignore"):
        return int(np.clip(np.rint(np.float32(value) / np.float32(scale)) + zero, -128, 127))
