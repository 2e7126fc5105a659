"""One descriptor on one sample: which words it reads, and what it computes from them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from fpga.emulator.arithmetic import add, requantise
from fpga.isa.descriptor import DENSE, MAX, Descriptor
from fpga.isa.parameter import decode_parameters
from fpga.isa.shape import WORD_MASK

Array = Any


@dataclass(frozen=True)
class Reads:
    """Word numbers within the source's bank, [pixels, KH * KW, tiles]; -1 is padding."""

    words: Array

    @property
    def used(self) -> Array:
        return self.words[self.words >= 0]


def reads(layer: Descriptor, is_odd: bool) -> Reads:
    """The source words of a layer in the order of its loops, of each output pixel."""
    tiles = layer.ict if layer.kind == DENSE else layer.oct
    y = np.arange(layer.oh)[:, None] * layer.sy - layer.pt + np.arange(layer.kh)
    x = np.arange(layer.ow)[:, None] * layer.sx - layer.pl + np.arange(layer.kw)
    rows = y[:, None, :, None]  # oy, ox, ky, kx
    columns = x[None, :, None, :]
    pixels = rows * layer.src_row + columns * layer.src_pixel
    is_inside = (rows >= 0) & (rows < layer.ih) & (columns >= 0) & (columns < layer.iw)
    base = (layer.src & WORD_MASK) + (layer.src_alt if is_odd else 0)
    words = pixels[..., None] + np.arange(tiles) + base
    words = np.where(is_inside[..., None], words, -1)
    return Reads(words.reshape(layer.oh * layer.ow, layer.kh * layer.kw, tiles))


def places(base: int, alt: int, pitch: int, layer: Descriptor, is_odd: bool) -> Array:
    """Word numbers [pixels, OCT] of results or residuals within their bank."""
    pixels = np.arange(layer.oh * layer.ow) * pitch
    start = (base & WORD_MASK) + (alt if is_odd else 0)
    return pixels[:, None] + np.arange(layer.oct) + start


def compute(
    layer: Descriptor, source: Array, weights: Array, parameters: Array, res: Array
) -> Array:
    """Results int8 [pixels, OCT, N].

    source: int8 [pixels, KH * KW, tiles, N], padding filled in; weights: int8 [words, N, N] from
    w_base on; parameters: uint64 [OCT, N]; res: int8 [pixels, OCT, N], or None.
    """
    total = _accumulate(layer, source, weights)
    bias, sig, shift = decode_parameters(parameters)
    value = requantise(total + bias, sig, shift) + layer.z1
    value = np.clip(value, layer.lo1, layer.hi1)
    if layer.has_residual:
        value = add(value, layer.z1, res, layer.zr, layer.ma, layer.mb, layer.sh) + layer.zo
        value = np.clip(value, layer.lo, layer.hi)
    return value.astype(np.int8)


def _accumulate(layer: Descriptor, source: Array, weights: Array) -> Array:
    """int64 [pixels, OCT, N]. float64 holds every partial sum exactly (below 2^53)."""
    pixels, taps, tiles, n = source.shape
    if layer.kind == MAX:
        return source.max(axis=1).astype(np.int64)
    source = source.astype(np.float64)
    if layer.kind == DENSE:
        if layer.has_fixed_weight:
            words = np.broadcast_to(weights[:1], (layer.oct * taps * tiles, n, n))
        else:
            words = weights[: layer.oct * taps * tiles]
        # [oct, k, out, in] -> [k, in, oct, out]
        kernel = words.reshape(layer.oct, taps * tiles, n, n).transpose(1, 3, 0, 2)
        matrix = kernel.astype(np.float64).reshape(taps * tiles * n, layer.oct * n)
        total = source.reshape(pixels, taps * tiles * n) @ matrix
        return total.reshape(pixels, layer.oct, n).astype(np.int64)
    if layer.has_fixed_weight:
        words = np.broadcast_to(weights[:1], (tiles * taps, n, n))
    else:
        words = weights[: tiles * taps]
    kernel = words.reshape(tiles, taps, n, n).astype(np.float64)
    return np.einsum("pkti,tkoi->pto", source, kernel, optimize=True).astype(np.int64)
