"""The requantiser is float32, value for value."""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np
import pytest

from fpga.isa.parameter import encode_parameters
from fpga.simulation.library import build
from fpga.synthesis.sources import RTL, engine_sources

Array = Any


def requantise(pack: int, total: Array, scale: Array, zero: int, low: int, high: int) -> Array:
    """What the hardware makes of each total with each scale; half of a total comes as bias."""
    harness = RTL / "bench_requantiser.cpp"
    verilog = [path for path in engine_sources() if path.stem in ("multiplier", "requantiser")]
    lib = ctypes.CDLL(str(build("requantiser", harness, {"PACK": pack}, verilog=verilog)))
    acc = np.ascontiguousarray(total - (total >> 1), np.int32)
    words = encode_parameters(total >> 1, scale)
    results = np.zeros(len(acc), np.int8)
    pointer = ctypes.c_void_p
    lib.requantise.argtypes = [
        pointer,
        pointer,
        ctypes.c_uint64,
        ctypes.c_int,
        ctypes.c_int,
        ctypes.c_int,
        pointer,
    ]
    lib.requantise(
        acc.ctypes.data, words.ctypes.data, len(acc), zero, low, high, results.ctypes.data
    )
    return results


def in_float32(total: Array, scale: Array, zero: int, low: int, high: int) -> Array:
    product = total.astype(np.float32) * scale
    return np.clip(np.rint(product).astype(np.float64) + zero, low, high).astype(np.int8)


def near_ties(rng: np.random.Generator, count: int) -> tuple[Array, Array]:
    """Totals and scales whose product lies within a few steps of float32 of m + 1/2."""
    total = rng.integers(1, 1 << 24, count) * rng.choice([-1, 1], count)
    small = rng.random(count) < 0.5
    total[small] = rng.integers(1, 4000, small.sum()) * rng.choice([-1, 1], small.sum())
    tie = rng.integers(0, 260, count) + 0.5
    tie[rng.random(count) < 0.3] = 0.5
    scale = (tie / np.abs(total)).astype(np.float32)
    for _ in range(2):  # some steps up or down
        way = rng.choice([-np.inf, np.inf], count).astype(np.float32)
        stepped = np.nextafter(scale, way)
        scale = np.where(rng.random(count) < 0.5, stepped, scale)
    return total, scale


@pytest.mark.parametrize("pack", [pytest.param(0, marks=pytest.mark.slow), 1])
def test_a_million_near_ties_are_rounded_as_float32_rounds_them(pack: int) -> None:
    rng = np.random.default_rng(3)
    for zero, low, high in [(0, -128, 127), (-128, -128, 127), (127, -128, 127), (13, -20, 90)]:
        total, scale = near_ties(rng, 300_000)
        got = requantise(pack, total, scale, zero, low, high)
        np.testing.assert_array_equal(got, in_float32(total, scale, zero, low, high))


@pytest.mark.parametrize("pack", [pytest.param(0, marks=pytest.mark.slow), 1])
def test_any_total_and_scale(pack: int) -> None:
    rng = np.random.default_rng(4)
    count = 400_000
    total = (rng.integers(0, 1 << 24, count) >> rng.integers(0, 24, count)) * rng.choice(
        [-1, 1], count
    )
    total[:6] = [0, 1, -1, (1 << 24) - 1, 1 - (1 << 24), 2]
    scale = np.exp2(rng.uniform(-39.9, 22.9, count)).astype(np.float32)
    scale[rng.random(count) < 0.1] = 0
    exact = rng.random(count) < 0.3
    scale[exact] = np.exp2(rng.integers(-30, 8, exact.sum())).astype(np.float32)
    got = requantise(pack, total, scale, 5, -128, 127)
    np.testing.assert_array_equal(got, in_float32(total, scale, 5, -128, 127))
