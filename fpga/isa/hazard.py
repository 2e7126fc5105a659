"""Layers that write where they have still to read, or cannot release X: rules that no hardware
checks (docs/reference/fpga-engine.md, sections 2 and 4).

Result words have a number, pixel * OCT + oct, and are made in this order. A word is read in time
while its last reader's number is not above its first writer's: results come after their own reads.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from fpga.isa.shape import BANK_OUT, WORD_MASK

if TYPE_CHECKING:
    from fpga.isa.descriptor import Descriptor

Array = Any
_NOBODY = -1
_NEVER = 1 << 40


def overwritten(layer: Descriptor) -> str:
    """What a layer writes over before it has read it: "source", "residual" or "" for nothing.

    The layer must lie within its banks.
    """
    is_source = layer.dst_bank == layer.src_bank
    is_residual = layer.has_residual and layer.dst_bank == layer.res_bank
    if layer.dst_bank == BANK_OUT or not (is_source or is_residual):
        return ""
    pixels = np.arange(layer.oh * layer.ow, dtype=np.int64)
    for is_odd in (False, True):
        at = _start(layer.dst, layer.dst_alt, is_odd) + pixels * layer.dst_pixel
        writers = _of_tiles(_by_word(at, pixels, np.minimum, _NEVER), layer, np.minimum, _NEVER)
        if is_source and np.any(_source_readers(layer, is_odd) > writers):
            return "source"
        at = _start(layer.res, layer.res_alt, is_odd) + pixels * layer.res_pixel
        if is_residual and np.any(_readers(at, pixels, layer) > writers):
            return "residual"
    return ""


def reads_only_padding(layer: Descriptor) -> bool:
    """Whether no tap of any pixel lies within the picture."""
    return bool((_last_rows(layer) < 0).all() or (_last_columns(layer) < 0).all())


def _start(base: int, alt: int, is_odd: bool) -> int:
    return (base & WORD_MASK) + (alt if is_odd else 0)


def _last_rows(layer: Descriptor) -> Array:
    return _last_reader(layer.ih, layer.oh, layer.kh, layer.sy, layer.pt)


def _last_columns(layer: Descriptor) -> Array:
    return _last_reader(layer.iw, layer.ow, layer.kw, layer.sx, layer.pl)


def _last_reader(size: int, count: int, kernel: int, stride: int, pad: int) -> Array:
    """Of each row (or column) of the source the last row of results that reads it, or -1."""
    place = np.arange(size, dtype=np.int64) + pad
    last = np.minimum(place // stride, count - 1)
    return np.where(place - last * stride < kernel, last, _NOBODY)


def _source_readers(layer: Descriptor, is_odd: bool) -> Array:
    """Of each word of the bank the number of the last result that reads it, or -1."""
    rows, columns = _last_rows(layer)[:, None], _last_columns(layer)[None, :]
    last = np.where((rows < 0) | (columns < 0), _NOBODY, rows * layer.ow + columns)
    at = (
        _start(layer.src, layer.src_alt, is_odd)
        + np.arange(layer.ih, dtype=np.int64)[:, None] * layer.src_row
        + np.arange(layer.iw, dtype=np.int64)[None, :] * layer.src_pixel
    )
    is_read = last >= 0
    if not layer.is_dense:
        return _readers(at[is_read], last[is_read], layer)
    # Each tile of the source is read for each tile of the results.
    first = _by_word(at[is_read], last[is_read], np.maximum, _NOBODY)
    numbers = np.where(first < 0, _NOBODY, first * layer.oct + layer.oct - 1)
    found = numbers.copy()
    for tile in range(1, layer.ict):
        np.maximum(found[tile:], numbers[:-tile], out=found[tile:])
    return found


def _readers(at: Array, pixels: Array, layer: Descriptor) -> Array:
    """The last reader of each word, where tile t of a pixel is read for tile t of its result."""
    return _of_tiles(_by_word(at, pixels, np.maximum, _NOBODY), layer, np.maximum, _NOBODY)


def _by_word(at: Array, pixels: Array, choose: Any, nothing: int) -> Array:
    """The last (or first) of the pixels that lie at each word of a bank."""
    found = np.full(WORD_MASK + 1, nothing, np.int64)
    choose.at(found, at.reshape(-1), pixels.reshape(-1))
    return found


def _of_tiles(first: Array, layer: Descriptor, choose: Any, nothing: int) -> Array:
    """The numbers of results by word, from the pixels whose tile 0 lies there."""
    numbers = np.where(first == nothing, nothing, first * layer.oct)
    found = np.full(len(first), nothing, np.int64)
    for tile in range(layer.oct):
        there = np.where(numbers == nothing, nothing, numbers + tile)
        choose(found[tile:], there[: len(there) - tile], out=found[tile:])
    return found
