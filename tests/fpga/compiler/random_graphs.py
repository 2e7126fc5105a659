"""Small networks from a seed: every kind of layer, odd sizes, any scale and zero point."""

from __future__ import annotations

from typing import Any

import numpy as np

from fpga.compiler.addition import factors
from fpga.compiler.graph import Add, Average, Concat, Conv, Graph, Max, Node, Tensor, Window

Array = Any


class Drawing:
    """A graph that grows by a node at a time."""

    def __init__(self, seed: int) -> None:
        self.draw = np.random.default_rng(seed)
        self.tensors: dict[str, Tensor] = {}
        self.nodes: list[Node] = []

    def tensor(self, shape: tuple[int, int, int], like: Tensor | None = None) -> Tensor:
        scale = float(np.float32(2.0 ** self.draw.uniform(-6, -2)))
        zero = int(self.draw.choice([-128, 0, int(self.draw.integers(-128, 128))]))
        if like is not None:
            scale, zero = like.scale, like.zero_point
        made = Tensor(f"t{len(self.tensors)}", shape, scale, zero)
        self.tensors[made.name] = made
        return made

    def limits(self, target: Tensor) -> tuple[int, int]:
        """None, a Relu's, or any."""
        way = int(self.draw.integers(3))
        if way == 0:
            return -128, 127
        if way == 1:
            return target.zero_point, 127
        low, high = sorted(int(each) for each in self.draw.integers(-128, 128, 2))
        return low, high

    def window(self, source: Tensor, most: int = 3) -> tuple[Window, tuple[int, int]]:
        _, height, width = source.shape
        kernel = tuple(int(self.draw.integers(1, min(most, size) + 1)) for size in (height, width))
        strides = tuple(int(each) for each in self.draw.integers(1, 3, 2))
        pads = tuple(int(self.draw.integers(0, size)) for size in kernel)
        after = tuple(int(self.draw.integers(0, size)) for size in kernel)
        sizes = tuple(
            (size + pads[i] + after[i] - kernel[i]) // strides[i] + 1
            for i, size in enumerate((height, width))
        )
        return Window(kernel, strides, pads), sizes  # type: ignore[arg-type, return-value]

    def conv(self, source: Tensor, channels: int, window: Window, sizes: tuple[int, int]) -> Tensor:
        is_depthwise = channels == source.shape[0] > 1 and bool(self.draw.integers(2))
        inputs = 1 if is_depthwise else source.shape[0]
        weight = self.draw.integers(-64, 64, (channels, inputs, *window.kernel)).astype(np.int8)
        target = self.tensor((channels, *sizes))
        spread = np.sqrt(weight[0].size) * 64 * 40 * source.scale
        weight_scale = np.float32(target.scale * self.draw.uniform(20, 120, channels) / spread)
        scale = np.float32(source.scale) * weight_scale / np.float32(target.scale)
        bias = self.draw.integers(-3000, 3000, channels)
        self.nodes.append(
            Conv(
                f"conv{len(self.nodes)}", source.name, target.name, weight, bias, scale,
                weight_scale, window, is_depthwise, *self.limits(target),
            )
        )  # fmt: skip
        return target

    def step(self, source: Tensor) -> Tensor:
        """Any node on `source`."""
        way = int(self.draw.integers(7))
        channels, height, width = source.shape
        if way == 0:
            window, sizes = self.window(source)
            target = self.tensor((channels, *sizes), like=source)
            self.nodes.append(
                Max(f"max{len(self.nodes)}", source.name, target.name, window, *self.limits(target))
            )
            return target
        if way == 1:
            before = [each for each in self.tensors.values() if each.shape == source.shape]
            other = before[int(self.draw.integers(len(before)))]
            target = self.tensor(source.shape)
            numbers = factors(source.scale, other.scale, target.scale)
            self.nodes.append(
                Add(f"add{len(self.nodes)}", source.name, other.name, target.name, *numbers,
                    *self.limits(target))
            )  # fmt: skip
            return target
        if way == 2 and self.draw.integers(2):
            window, target = Window((height, width)), self.tensor((channels, 1, 1))
            scale = source.scale / (target.scale * height * width)
            self.nodes.append(
                Average(f"average{len(self.nodes)}", source.name, target.name,
                        float(np.float32(scale)), window, *self.limits(target))
            )  # fmt: skip
            return target
        if way == 6 and channels % 8 == 0:
            before = [each for each in self.tensors.values() if each.shape[1:] == (height, width)]
            parts = source, before[int(self.draw.integers(len(before)))]
            target = self.tensor((channels + parts[1].shape[0], height, width))
            scales = tuple(float(np.float32(each.scale / target.scale)) for each in parts)
            names = tuple(each.name for each in parts)
            self.nodes.append(
                Concat(f"concat{len(self.nodes)}", names, target.name, scales,
                       *self.limits(target))
            )  # fmt: skip
            return target
        wide = int(self.draw.choice([channels, int(self.draw.integers(1, 40))]))
        window, sizes = self.window(source)
        if way == 3:
            window, sizes = Window((height, width)), (1, 1)
        elif way == 4:
            window, sizes = Window((3, 3), (1, 1), (1, 1)), (height, width)
        return self.conv(source, wide, window, sizes)


def random_graph(seed: int, most_nodes: int = 5) -> Graph:
    """1 to `most_nodes` nodes on a picture of at most 7 x 7 x 20."""
    made = Drawing(seed)
    draw = made.draw
    sizes = [int(draw.integers(1, 8)), int(draw.integers(1, 8))]
    source = first = made.tensor((int(draw.choice([1, 3, 8, 9, 20])), sizes[0], sizes[1]))
    for _ in range(int(draw.integers(1, most_nodes + 1))):
        source = made.step(source)
    return Graph(
        f"random {seed}", made.tensors, tuple(made.nodes), first.name, source.name, "x", "y",
        ("NCHW", "NCHW"),
    )  # fmt: skip
