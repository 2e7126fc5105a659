"""Requantise and add, in integers as the hardware does (docs/reference/fpga-engine.md, section 2).

Requantising is float32's: the product of two float32 is rounded once to 24 significant bits, then
`rint` rounds it to an integer. The first rounding matters only near m + 1/2, so the hardware looks
at the exact product there and never normalises it.
"""

from __future__ import annotations

from typing import Any

import numpy as np

Array = Any
MOST = 1023
"""Beyond every int8, whatever is added to it afterwards."""
_HALF_STEPS = 24 - np.floor(np.log2(np.arange(MOST + 1) + 0.5)).astype(np.int64)


def requantise(total: Array, sig: Array, shift: Array) -> Array:
    """`rint(float32(total) * float32(sig * 2^-shift))` limited to -1023..1023, int64.

    total: acc + bias, |total| < 2^24, any integer dtype; sig and shift as in a parameter. All
    three broadcast.
    """
    total = np.asarray(total, np.int64)
    product = np.abs(total) * np.asarray(sig, np.int64)  # < 2^48
    shift = np.asarray(shift, np.int64)
    whole = np.minimum(product >> shift, MOST)
    rest = product & ((np.int64(1) << shift) - 1)
    half = np.where(shift > 0, np.int64(1) << np.maximum(shift - 1, 0), 0)
    distance = rest - half  # in units of 2^-shift; meaningless for shift 0, where rest is 0
    step = _half_step(whole, distance < 0)
    # |distance| <= 2^(shift - step), without a fraction where shift < step: only 0 is within.
    window = np.where(shift >= step, np.int64(1) << np.clip(shift - step, 0, 62), 0)
    is_tie = (np.abs(distance) <= window) & (shift > 0)
    is_up = np.where(is_tie, whole & 1 == 1, (distance > 0) & (shift > 0))
    magnitude = np.minimum(whole + is_up, MOST)
    return np.where(total < 0, -magnitude, magnitude)


def _half_step(whole: Array, is_below: Array) -> Array:
    """s, where 2^-s is half a float32 step beside whole + 1/2 (below it or above it).

    A float32 in [2^e, 2^(e+1)) has steps of 2^(e-23). Beside m + 1/2, e = floor(log2(m + 1/2)),
    and one less just below 1/2, which is a power of two."""
    return _HALF_STEPS[whole] + (is_below & (whole == 0))


def add(value: Array, z1: int, residual: Array, zr: int, ma: int, mb: int, sh: int) -> Array:
    """`rne((MA * (value - z1) + MB * (residual - zr)) / 2^sh)`, int64, without zero point."""
    exact = ma * (np.asarray(value, np.int64) - z1) + mb * (np.asarray(residual, np.int64) - zr)
    if sh == 0:
        return exact
    whole = exact >> sh
    rest = exact & ((1 << sh) - 1)
    half = 1 << (sh - 1)
    return whole + ((rest > half) | ((rest == half) & (whole & 1 == 1)))
