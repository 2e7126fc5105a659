"""A quantised network in integers: what is computed, before anything is said about hardware.

Tensors are int8 [C, H, W] with real = scale * (value - zero_point); a vector is [C, 1, 1]. Every
node's arithmetic is the engine's (docs/reference/fpga-engine.md, section 2), which is onnxruntime's
for QLinearConv, QGemm and QLinearGlobalAveragePool.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

Array = Any


@dataclass(frozen=True, slots=True)
class Tensor:
    """``shape``: (channels, height, width)."""

    name: str
    shape: tuple[int, int, int]
    scale: float
    zero_point: int


@dataclass(frozen=True, slots=True)
class Window:
    """How a kernel goes over a picture. ``pads``: above and to the left; what is missing below and
    to the right follows from the sizes."""

    kernel: tuple[int, int] = (1, 1)
    strides: tuple[int, int] = (1, 1)
    pads: tuple[int, int] = (0, 0)


@dataclass(frozen=True, slots=True)
class Conv:
    """``clip(rint(float32(sum of weight * (x - zero point) + bias) * scale) + z, lo, hi)``.

    weight: int8 [O, I, KH, KW], or [C, 1, KH, KW] where ``is_depthwise``; bias: int64 [O]; scale:
    float32 [O]; weight_scale: float32 [O], which scale was made from. A fully connected layer is a
    kernel as large as its input.
    """

    name: str
    source: str
    target: str
    weight: Array
    bias: Array
    scale: Array
    weight_scale: Array
    window: Window = field(default_factory=Window)
    is_depthwise: bool = False
    lo: int = -128
    hi: int = 127


@dataclass(frozen=True, slots=True)
class Average:
    """``clip(rint(float32(sum of (x - zero point)) * scale) + z, lo, hi)`` over a window."""

    name: str
    source: str
    target: str
    scale: float
    window: Window
    lo: int = -128
    hi: int = 127


@dataclass(frozen=True, slots=True)
class Max:
    """The largest of a window; scale and zero point stay. What lies outside counts as -128."""

    name: str
    source: str
    target: str
    window: Window
    lo: int = -128
    hi: int = 127


@dataclass(frozen=True, slots=True)
class Add:
    """``clip(rne((ma * (a - za) + mb * (b - zb)) / 2^sh) + z, lo, hi)``."""

    name: str
    a: str
    b: str
    target: str
    ma: int
    mb: int
    sh: int
    lo: int = -128
    hi: int = 127


@dataclass(frozen=True, slots=True)
class Concat:
    """Channels one after another, each source's by ``clip(rint(float32(x - zero point) * its scale)
    + z, lo, hi)``."""

    name: str
    parts: tuple[str, ...]
    target: str
    scales: tuple[float, ...]
    lo: int = -128
    hi: int = 127


Node = Conv | Average | Max | Add | Concat


@dataclass(frozen=True, slots=True)
class Graph:
    """Nodes in an order in which they can be computed. ``layouts``: how the model itself lays its
    input and its output: NC, NCHW or NHWC. ``tail``: what the host does with the real output."""

    name: str
    tensors: dict[str, Tensor]
    nodes: tuple[Node, ...]
    input: str
    output: str
    input_name: str
    output_name: str
    layouts: tuple[str, str]
    tail: tuple[str, ...] = ()

    def sources(self, node: Node) -> tuple[str, ...]:
        """The tensors that a node reads."""
        return read_by(node)

    def macs(self, node: Node) -> int:
        """Multiplications of one sample that are not with padding lanes."""
        channels, height, width = self.tensors[node.target].shape
        if isinstance(node, Conv):
            return int(node.weight[0].size) * channels * height * width
        return 0


def read_by(node: Node) -> tuple[str, ...]:
    """The tensors that a node reads."""
    if isinstance(node, Add):
        return node.a, node.b
    return node.parts if isinstance(node, Concat) else (node.source,)
