"""Scale and bias of channels: 64 bits each (docs/reference/fpga-engine.md, section 2)."""

from __future__ import annotations

from typing import Any

import numpy as np

from fpga.errors import ProgramError

Array = Any  # numpy's arrays have no types that Python 3.8 can write


def split_scale(scale: Array) -> tuple[Array, Array]:
    """(sig, shift) of float32 scales, any shape: scale = sig * 2^-shift exactly, with
    2^23 <= sig < 2^24; a scale of 0 has sig 0.

    Raises ProgramError for a scale that is negative, not finite, or outside 2^-40 .. 2^23.
    """
    scale = np.asarray(scale, np.float32)
    if not np.all(np.isfinite(scale)) or np.any(scale < 0):
        raise ProgramError("a scale must be finite and not negative")
    fraction, exponent = np.frexp(scale)  # scale = fraction * 2^exponent, 0.5 <= fraction < 1
    sig = np.ldexp(fraction.astype(np.float64), 24).astype(np.int64)
    shift = np.where(sig == 0, 0, 24 - exponent.astype(np.int64))
    if np.any(shift < 0) or np.any(shift > 63):
        raise ProgramError("a scale must lie in 2^-40 .. 2^23")
    return sig, shift


def encode_parameters(bias: Array, scale: Array) -> Array:
    """uint64 of each channel: bias int32, scale float32, of one shape."""
    sig, shift = split_scale(scale)
    bias = np.asarray(bias, np.int64)
    if np.any(np.abs(bias) >= 1 << 31):
        raise ProgramError("a bias must fit in 32 bits")
    low = bias & 0xFFFFFFFF
    return (
        low.astype(np.uint64)
        | sig.astype(np.uint64) << np.uint64(32)
        | shift.astype(np.uint64) << np.uint64(56)
    )


def decode_parameters(words: Array) -> tuple[Array, Array, Array]:
    """(bias, sig, shift) as int64."""
    words = np.asarray(words, np.uint64)
    bias = (words & np.uint64(0xFFFFFFFF)).astype(np.uint32).view(np.int32).astype(np.int64)
    sig = (words >> np.uint64(32) & np.uint64(0xFFFFFF)).astype(np.int64)
    return bias, sig, (words >> np.uint64(56) & np.uint64(0x3F)).astype(np.int64)
