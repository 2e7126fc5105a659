"""Sizes in an ONNX graph: the input's, the output's rank, windows, and what makes a vector."""

from __future__ import annotations

from typing import Any

import onnx

from fpga.compiler.graph import Tensor, Window
from fpga.compiler.onnx_file import OnnxFile, attributes, named
from fpga.errors import ModelError

MOST_SIZE = 1023
MOST_KERNEL = 15
_VECTORS = ("Gemm", "MatMul", "Flatten", "Reshape")
_PICTURES = ("Conv", "MaxPool", "AveragePool", "GlobalAveragePool")


def input_sizes(file: OnnxFile) -> tuple[tuple[int, int, int], str]:
    """(channels, height, width) of the input, and its layout. Raises ModelError."""
    sizes = file.input().type.tensor_type.shape.dim
    if len(sizes) not in (2, 4):
        raise ModelError(f"the input is [N, C] or [N, C, H, W], not of rank {len(sizes)}")
    if any(size.dim_value > MOST_SIZE for size in sizes[2:]):
        raise ModelError(f"the input is at most {MOST_SIZE} x {MOST_SIZE}")
    if any(size.dim_value < 1 for size in sizes[1:]):
        raise ModelError(
            "the input's sizes must be known, but for the batch: export the model with fixed"
            " height, width and channels"
        )
    if len(sizes) == 2:
        return (sizes[1].dim_value, 1, 1), "NC"
    return (sizes[1].dim_value, sizes[2].dim_value, sizes[3].dim_value), "NCHW"


def output_rank(file: OnnxFile, end: str) -> int:
    """What the nodes say, since files often do not."""
    while end in file.producers:
        node = file.producers[end]
        if node.op_type in _VECTORS:
            return 2
        if node.op_type in _PICTURES:
            return 4
        if node.op_type == "ReduceMean":
            return 4 if attributes(node).get("keepdims", 1) else 2
        end = node.input[0]
    return 2 if input_sizes(file)[1] == "NC" else 4


def check_flat(file: OnnxFile, node: onnx.NodeProto) -> None:
    """Raises ModelError where a Flatten or Reshape makes anything but a vector of each sample."""
    if node.op_type == "Flatten":
        if attributes(node).get("axis", 1) != 1:
            raise ModelError(f"{named(node)}: from axis 1 only")
        return
    sizes = file.array(node.input[1], node).tolist()
    if len(sizes) != 2:
        raise ModelError(f"{named(node)}: to a vector only, not {sizes}")


def reduced_axes(file: OnnxFile, node: onnx.NodeProto) -> list[int]:
    """Of a ReduceMean, from an attribute or an input."""
    axes = attributes(node).get("axes")
    if axes is None and len(node.input) > 1:
        axes = file.array(node.input[1], node).tolist()
    return [axis % 4 for axis in axes or []]


def window_of(node: onnx.NodeProto, kernel: Any, source: Tensor) -> tuple[Window, tuple[int, int]]:
    """The window, and height and width of what comes out. Raises ModelError, naming the node."""
    found = attributes(node)
    strides, pads = found.get("strides", [1, 1]), found.get("pads", [0, 0, 0, 0])
    if found.get("auto_pad", b"NOTSET") not in (b"NOTSET", b"VALID"):
        raise ModelError(f"{named(node)}: auto_pad is not supported; export explicit pads")
    if any(each != 1 for each in found.get("dilations", [1, 1])):
        raise ModelError(f"{named(node)}: dilations are not supported")
    if found.get("ceil_mode", 0):
        raise ModelError(f"{named(node)}: ceil_mode is not supported")
    if kernel is None or len(kernel) != 2 or len(strides) != 2 or len(pads) != 4:
        raise ModelError(f"{named(node)}: two-dimensional windows only")
    is_possible = all(1 <= each <= MOST_KERNEL for each in [*kernel, *strides])
    if not is_possible or not all(0 <= each <= MOST_KERNEL for each in pads):
        raise ModelError(f"{named(node)}: kernels, strides and pads are at most {MOST_KERNEL}")
    _, height, width = source.shape
    sizes = (
        (height + pads[0] + pads[2] - kernel[0]) // strides[0] + 1,
        (width + pads[1] + pads[3] - kernel[1]) // strides[1] + 1,
    )
    if min(sizes) < 1:
        raise ModelError(f"{named(node)}: its window is larger than {height} x {width}")
    window = Window((kernel[0], kernel[1]), (strides[0], strides[1]), (pads[0], pads[1]))
    return window, sizes
