"""The numbers of an Add: MA, MB and sh from three scales, and the proof over all pairs."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from fpga.errors import ModelError

Array = Any
MOST = (1 << 24) - 1


def factors(a: float, b: float, out: float) -> tuple[int, int, int]:
    """(ma, mb, sh) with ma / 2^sh near a / out, and mb likewise; exact where both ratios are powers
    of two. Raises ModelError where a ratio is too large."""
    ratios = (a / out, b / out)
    sh = min(31, 23 - math.floor(math.log2(max(ratios))))
    if max(round(ratio * 2.0**sh) for ratio in ratios) > MOST:
        sh -= 1
    if sh < 0:
        raise ModelError("an Add whose input has 2^24 times the scale of its output")
    ma, mb = (round(ratio * 2.0**sh) for ratio in ratios)
    return ma, mb, sh


def differing_pairs(
    scales: tuple[float, float, float], zeros: tuple[int, int, int], numbers: tuple[int, int, int]
) -> int:
    """How many of the 65,536 pairs of int8 differ between the engine's add and float32's
    (DequantizeLinear, Add, QuantizeLinear, each rounded)."""
    ma, mb, sh = numbers
    values = np.arange(-128, 128, dtype=np.int64)
    a, b = values[:, None] - zeros[0], values[None, :] - zeros[1]
    ours = np.rint((ma * a + mb * b) / float(1 << sh)).astype(np.int64) + zeros[2]
    real = a.astype(np.float32) * np.float32(scales[0]) + b.astype(np.float32) * np.float32(
        scales[1]
    )
    theirs = np.rint(real / np.float32(scales[2])).astype(np.int64) + zeros[2]
    return int((np.clip(ours, -128, 127) != np.clip(theirs, -128, 127)).sum())
