"""A step as the engine's descriptor: what is computed, and from where to where."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from fpga.compiler.graph import Average, Conv, Max, Tensor, Window
from fpga.compiler.placement import Place
from fpga.compiler.steps import Copy, Step
from fpga.compiler.weights import tiles
from fpga.errors import CapacityError
from fpga.isa.descriptor import DENSE, MAX, PER_TILE, Descriptor
from fpga.isa.shape import BANK_OUT, BANK_X, EngineShape, address

MOST_TILES = 1023


@dataclass(frozen=True, slots=True)
class Description:
    """Of the steps of one network; by the names of tensors."""

    tensors: Mapping[str, Tensor]
    places: Mapping[str, Place]
    shape: EngineShape

    def descriptor(self, step: Step, first: int) -> Descriptor:
        """Of the output's tiles from ``first`` on; without weights, parameters and time. Raises
        CapacityError for what no descriptor can say."""
        layer = self._shaped(step, self.tensors[step.source], self.tensors[step.between])
        most = max(layer.ict, tiles(self.tensors[step.target].shape[0], self.shape.n))
        if most > MOST_TILES:
            raise CapacityError(
                f"{step.name}: {most} words of {self.shape.n} channels; the engine counts to"
                f" {MOST_TILES}: fewer channels, or an engine with more lanes"
            )
        return self._addressed(layer, step, first)

    def _shaped(self, step: Step, source: Tensor, between: Tensor) -> Descriptor:
        """What is computed, without places."""
        operation, target = step.operation, self.tensors[step.target]
        channels, height, width = source.shape
        ct = tiles(channels, self.shape.n)
        window = operation.window if not isinstance(operation, Copy) else Window()
        kind = DENSE
        if isinstance(operation, Max):
            kind = MAX
        elif isinstance(operation, Average | Copy) or operation.is_depthwise:
            kind = PER_TILE
        lo, hi = (-128, 127) if isinstance(operation, Copy) else (operation.lo, operation.hi)
        layer = Descriptor(
            kind=kind, ih=height, iw=width, oh=target.shape[1], ow=target.shape[2],
            kh=window.kernel[0], kw=window.kernel[1], sy=window.strides[0], sx=window.strides[1],
            pt=window.pads[0], pl=window.pads[1], ict=ct, src_pixel=ct, src_row=ct * width,
            pad=-128 if kind == MAX else source.zero_point,
            z1=between.zero_point, lo1=lo, hi1=hi,
        )  # fmt: skip
        if not isinstance(operation, Conv | Average) and step.residual is None:
            layer = replace(layer, z1=0)
        is_whole = window.kernel == (height, width) and target.shape[1:] == (1, 1)
        is_whole = is_whole and window.pads == (0, 0)
        if kind == DENSE and is_whole:
            layer = self._as_vector(layer, step)
        if step.residual is not None:
            layer = self._added(layer, step, between, target)
        return layer

    def _as_vector(self, layer: Descriptor, step: Step) -> Descriptor:
        """A kernel as large as the picture reads its words one after the other."""
        words_in = layer.ict * layer.kh * layer.kw
        if words_in > MOST_TILES:
            if layer.kh <= 15 and layer.kw <= 15:
                return layer
            raise CapacityError(
                f"{step.name}: a fully connected layer on {words_in} words; the engine counts to"
                f" {MOST_TILES}"
            )
        return replace(
            layer, ih=1, iw=1, kh=1, kw=1, ict=words_in, src_pixel=words_in, src_row=words_in
        )

    def _added(self, layer: Descriptor, step: Step, between: Tensor, target: Tensor) -> Descriptor:
        residual = step.residual
        assert residual is not None
        return replace(
            layer, has_residual=True, ma=residual.ma, mb=residual.mb, sh=residual.sh,
            zr=self.tensors[residual.tensor].zero_point, zo=target.zero_point,
            lo=residual.lo, hi=residual.hi,
        )  # fmt: skip

    def _addressed(self, layer: Descriptor, step: Step, first: int) -> Descriptor:
        """Places, of the part of the output's tiles that begins at ``first``."""
        n = self.shape.n
        whole = tiles(self.tensors[step.target].shape[0], n)
        source, target = self.places[step.source], self.places[step.target]
        per_tile = first if layer.kind in (PER_TILE, MAX) else 0
        at = 0 if target.bank == BANK_OUT else target.base + first + (step.channel or 0) // n
        layer = replace(
            layer, src=address(source.bank, source.base + per_tile), src_alt=self._alt(source),
            dst=address(target.bank, at), dst_alt=self._alt(target), dst_pixel=whole,
        )  # fmt: skip
        if step.residual is not None:
            residual = self.places[step.residual.tensor]
            layer = replace(
                layer, res=address(residual.bank, residual.base + first), res_pixel=whole,
                res_alt=self._alt(residual),
            )  # fmt: skip
        return layer

    def _alt(self, found: Place) -> int:
        if found.bank == BANK_X:
            return self.shape.x_half
        return found.words if found.copies == 2 else 0
