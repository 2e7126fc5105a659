"""How the model sees a tensor: its sizes, and the order of its values. Reshapes and transposes
change only that; the tensor stays [C, H, W] as the engine has it."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import onnx

from fpga.compiler.graph import Tensor
from fpga.compiler.onnx_file import OnnxFile, attributes, named
from fpga.errors import ModelError

SHAPES = ("Flatten", "Reshape", "Squeeze", "Unsqueeze", "Transpose", "Identity", "Dropout")
"""Operators that compute nothing."""
_TURNS = {("NCHW", (0, 2, 3, 1)): "NHWC", ("NHWC", (0, 3, 1, 2)): "NCHW"}


@dataclass(frozen=True, slots=True)
class View:
    """``name``: of the tensor; ``sizes``: the model's, without the batch; ``layout``: NCHW or NHWC,
    the order in which the model would read its values one by one."""

    name: str
    sizes: tuple[int, ...]
    layout: str = "NCHW"

    def is_picture(self, tensor: Tensor) -> bool:
        """[C, H, W], as the engine has it."""
        return self.sizes == tensor.shape and self.is_in_order(tensor)

    def is_in_order(self, tensor: Tensor) -> bool:
        """The model reads it channel by channel (or there is nothing to tell it by)."""
        channels, height, width = tensor.shape
        return self.layout == "NCHW" or channels == 1 or height * width == 1


def plain(tensor: Tensor) -> View:
    """[C, H, W]."""
    return View(tensor.name, tensor.shape)


def vector(tensor: Tensor) -> View:
    """[C] of a tensor [C, 1, 1]."""
    return View(tensor.name, tensor.shape[:1])


def reshaped(file: OnnxFile, node: onnx.NodeProto, view: View, tensor: Tensor) -> View:
    """The view behind a node of SHAPES. Raises ModelError, naming the node."""
    if node.op_type in ("Identity", "Dropout"):
        if len(node.input) > 2 and node.input[2] and file.array(node.input[2], node).any():
            raise ModelError(f"{named(node)}: in training; export the model for inference")
        return view
    if node.op_type == "Transpose":
        return _turned(node, view, tensor)
    if node.op_type == "Flatten":
        rank = len(view.sizes) + 1
        axis = attributes(node).get("axis", 1)
        if axis not in (1, 1 - rank):
            raise ModelError(f"{named(node)}: from axis 1 only")
        return replace(view, sizes=(math.prod(view.sizes),))
    if node.op_type == "Reshape":
        return replace(view, sizes=_new_sizes(file, node, view.sizes))
    return replace(view, sizes=_squeezed(file, node, view.sizes))


def _turned(node: onnx.NodeProto, view: View, tensor: Tensor) -> View:
    axes = tuple(attributes(node).get("perm", range(len(view.sizes), -1, -1)))
    turned = _TURNS.get((view.layout, axes))
    channels, height, width = tensor.shape
    whole = {"NCHW": (channels, height, width), "NHWC": (height, width, channels)}
    if turned is None or view.sizes != whole[view.layout]:
        raise ModelError(
            f"{named(node)}: only from [N, C, H, W] to [N, H, W, C] and back; its order of axes is"
            f" {list(axes)}, of sizes {list(view.sizes)}"
        )
    return replace(view, sizes=whole[turned], layout=turned)


def _new_sizes(file: OnnxFile, node: onnx.NodeProto, old: tuple[int, ...]) -> tuple[int, ...]:
    wanted = [int(size) for size in file.array(node.input[1], node).reshape(-1)]
    whole = math.prod(old)
    first, rest = (wanted[0], wanted[1:]) if wanted else (1, [])
    before = (None, *old)
    known = [before[at] if size == 0 else size for at, size in enumerate(rest, 1) if size != -1]
    product = math.prod(size or 0 for size in known)
    if -1 in rest and product and first != -1 and whole % product == 0:
        rest[rest.index(-1)] = whole // product
        product = whole
    is_batch_kept = first in (0, -1) or first == file.batch()
    if not rest or -1 in rest or product != whole or not is_batch_kept:
        raise ModelError(
            f"{named(node)}: to {wanted}, which is not each sample's {list(old)} in another shape:"
            " its first size must be the batch's"
        )
    return tuple(before[at] or 0 if size == 0 else size for at, size in enumerate(rest, 1))


def _squeezed(file: OnnxFile, node: onnx.NodeProto, old: tuple[int, ...]) -> tuple[int, ...]:
    axes = attributes(node).get("axes")
    if axes is None and len(node.input) > 1:
        axes = file.array(node.input[1], node).reshape(-1).tolist()
    if node.op_type == "Squeeze":
        rank = len(old) + 1
        places = [axis % rank for axis in axes] if axes else []
        if not places or any(at == 0 or old[at - 1] != 1 for at in places):
            raise ModelError(f"{named(node)}: name its axes; the batch stays, others have size 1")
        return tuple(size for at, size in enumerate(old, 1) if at not in places)
    rank = len(old) + 1 + len(axes or [])
    places = sorted(axis % rank for axis in axes or [])
    if not places or places[0] == 0:
        raise ModelError(f"{named(node)}: the first axis is the batch's")
    sizes = list(old)
    for at in places:
        sizes.insert(at - 1, 1)
    return tuple(sizes)
