"""Sizes in an ONNX graph: the input's, and windows that go over pictures."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import onnx

from fpga.compiler.graph import Tensor, Window
from fpga.compiler.onnx_file import OnnxFile, attributes, named
from fpga.errors import ModelError

MOST_SIZE = 1023
MOST_KERNEL = 15


def input_sizes(file: OnnxFile) -> tuple[int, ...]:
    """Of the input, without the batch: (C,), or three. Raises ModelError."""
    sizes = file.input().type.tensor_type.shape.dim
    if len(sizes) not in (2, 4):
        raise ModelError(
            f"the input is [N, C] or [N, C, H, W], not of rank {len(sizes)}: reshape it before the"
            " model"
        )
    if any(size.dim_value > MOST_SIZE for size in sizes[2:]):
        raise ModelError(f"the input is at most {MOST_SIZE} x {MOST_SIZE}")
    if any(size.dim_value < 1 for size in sizes[1:]):
        raise ModelError(
            "the input's sizes must be known, but for the batch: export the model with fixed"
            " height, width and channels"
        )
    return tuple(size.dim_value for size in sizes[1:])


def reduced_axes(file: OnnxFile, node: onnx.NodeProto) -> list[int]:
    """Of a ReduceMean, from an attribute or an input."""
    axes = attributes(node).get("axes")
    if axes is None and len(node.input) > 1:
        axes = file.array(node.input[1], node).tolist()
    return [axis % 4 for axis in axes or []]


@dataclass(frozen=True, slots=True)
class Going:
    """How a window goes over a picture: ``after``: padding below and to the right."""

    window: Window
    after: tuple[int, int]
    sizes: tuple[int, int]

    @property
    def is_padded(self) -> bool:
        return self.window.pads != (0, 0) or self.after != (0, 0)


def going(
    node: onnx.NodeProto, kernel: Any, source: Tensor, *, may_dilate: bool = False,
    may_exceed: bool = False,
) -> Going:  # fmt: skip
    """Of a Conv or a pool. may_dilate: a dilated kernel is one with gaps; may_exceed: with
    ceil_mode the last window may leave the padding. Raises ModelError, naming the node."""
    found = attributes(node)
    strides, dilations = found.get("strides", [1, 1]), found.get("dilations", [1, 1])
    if kernel is None or not len(kernel) == len(strides) == len(dilations) == 2:
        raise ModelError(f"{named(node)}: two-dimensional windows only")
    if list(dilations) != [1, 1] and not may_dilate:
        raise ModelError(f"{named(node)}: dilations are not supported; use a Conv, or none")
    spread = [(size - 1) * gap + 1 for size, gap in zip(kernel, dilations, strict=True)]
    is_possible = all(1 <= each <= MOST_KERNEL for each in [*spread, *strides])
    pads = _pads(node, spread, strides, source) if is_possible else []
    if len(pads) != 4 or not all(0 <= each <= MOST_KERNEL for each in pads):
        raise ModelError(
            f"{named(node)}: kernels (with their gaps), strides and pads are at most {MOST_KERNEL};"
            f" this one has kernel {spread}, strides {list(strides)}, pads {list(pads)}"
        )
    sizes = [
        (size + pads[at] + pads[at + 2] - spread[at]) // strides[at] + 1
        for at, size in enumerate(source.shape[1:])
    ]
    if found.get("ceil_mode", 0):
        ceil = [
            _ceil(size, spread[at], strides[at], pads[at], pads[at + 2])
            for at, size in enumerate(source.shape[1:])
        ]
        if ceil != sizes and not may_exceed:
            raise ModelError(f"{named(node)}: ceil_mode, and a window that leaves the picture")
        sizes = ceil
    height, width = source.shape[1:]
    if min(sizes) < 1:
        raise ModelError(f"{named(node)}: its window is larger than {height} x {width}")
    if not all(
        _meets(size, count, spread[at], strides[at], pads[at])
        for at, (size, count) in enumerate(zip((height, width), sizes, strict=True))
    ):
        raise ModelError(f"{named(node)}: its window meets padding only: make its pads smaller")
    window = Window((spread[0], spread[1]), (strides[0], strides[1]), (pads[0], pads[1]))
    return Going(window, (pads[2], pads[3]), (sizes[0], sizes[1]))


def _pads(node: onnx.NodeProto, spread: list[int], strides: list[int], source: Tensor) -> list[int]:
    """Above, to the left, below, to the right."""
    found = attributes(node)
    way = found.get("auto_pad", b"NOTSET")
    if way == b"VALID":
        return [0, 0, 0, 0]
    if way not in (b"SAME_UPPER", b"SAME_LOWER"):
        return list(found.get("pads", [0, 0, 0, 0]))
    both = [
        max(0, (-(-size // stride) - 1) * stride + kernel - size)
        for size, stride, kernel in zip(source.shape[1:], strides, spread, strict=True)
    ]
    less, more = [each // 2 for each in both], [each - each // 2 for each in both]
    return [*less, *more] if way == b"SAME_UPPER" else [*more, *less]


def _ceil(size: int, kernel: int, stride: int, before: int, after: int) -> int:
    """A last window that would begin behind the picture and its padding before is left out."""
    count = -(-(size + before + after - kernel) // stride) + 1
    return count - 1 if (count - 1) * stride >= size + before else count


def _meets(size: int, count: int, kernel: int, stride: int, pad: int) -> bool:
    return any(at * stride - pad < size and at * stride - pad + kernel > 0 for at in range(count))
