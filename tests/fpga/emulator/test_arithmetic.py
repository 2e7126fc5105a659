"""Integers round as float32 does, everywhere that results differ."""

from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fpga.emulator.arithmetic import add, requantise
from fpga.isa.parameter import split_scale

Array = Any


def as_float32(total: Array, scale: Array) -> Array:
    product = total.astype(np.float32) * scale.astype(np.float32)
    assert product.dtype == np.float32
    return np.clip(np.rint(product), -1023, 1023).astype(np.int64)


def same(total: Array, scale: Array) -> None:
    sig, shift = split_scale(scale)
    wrong = requantise(total, sig, shift) != as_float32(total, scale)
    assert not wrong.any(), (total[wrong][:3], scale[wrong][:3])


def test_a_million_sums_requantise_as_float32_does() -> None:
    draw = np.random.default_rng(1)
    total = draw.integers(-(2**24) + 1, 2**24, 1_000_000)
    same(total, np.exp2(draw.uniform(-28, -8, len(total))).astype(np.float32))


def test_a_million_sums_beside_a_tie_requantise_as_float32_does() -> None:
    """scale = the float32 nearest to (m + 1/2) / total, and the floats beside it."""
    draw = np.random.default_rng(2)
    total = draw.integers(1, 2**24, 350_000)
    exact = (draw.integers(0, 140, len(total)) + 0.5) / total
    for step in (-1, 0, 1):
        scale = exact.astype(np.float32).view(np.int32) + step
        same(total * draw.choice([-1, 1], len(total)), scale.view(np.float32))


def test_the_windows_matter() -> None:
    """Rounding the exact product differs somewhere, or the tests above show nothing."""
    draw = np.random.default_rng(3)
    total = draw.integers(1, 2**24, 200_000)
    scale = ((draw.integers(0, 140, len(total)) + 0.5) / total).astype(np.float32)
    exact = np.rint(total * scale.astype(np.float64))
    assert (exact != as_float32(total, scale)).sum() > 100


@given(st.integers(-(2**24) + 1, 2**24 - 1), st.floats(2.0**-40, 2.0**20, width=32))
def test_any_sum_and_scale_requantise_as_float32_does(total: int, scale: float) -> None:
    same(np.array([total]), np.array([scale], np.float32))


def test_a_scale_of_nothing_gives_nothing() -> None:
    assert requantise(np.array([5, -5]), 0, 0).tolist() == [0, 0]


@settings(max_examples=300)
@given(
    st.integers(-128, 127),
    st.integers(-128, 127),
    st.integers(-128, 127),
    st.integers(-128, 127),
    st.integers(0, 2**24 - 1),
    st.integers(0, 2**24 - 1),
    st.integers(0, 31),
)
def test_add_rounds_half_to_even(
    value: int, z1: int, residual: int, zr: int, ma: int, mb: int, sh: int
) -> None:
    exact = Fraction(ma * (value - z1) + mb * (residual - zr), 1 << sh)
    assert int(add(np.array([value]), z1, np.array([residual]), zr, ma, mb, sh)[0]) == round(exact)


@pytest.mark.parametrize(("value", "expected"), [(1, 0), (3, 2), (-1, 0), (-3, -2), (5, 2), (7, 4)])
def test_add_ties(value: int, expected: int) -> None:
    assert add(np.array([value]), 0, np.array([0]), 0, 1, 0, 1).tolist() == [expected]


def test_what_is_below_zero_is_rounded_as_what_is_above_it() -> None:
    # The compiler's proof relies on it: it looks at magnitudes.
    draw = np.random.default_rng(3)
    total = draw.integers(0, 1 << 24, 200_000)
    scale = (2.0 ** draw.uniform(-26, 2, len(total))).astype(np.float32)
    sig, shift = split_scale(scale)
    assert (requantise(-total, sig, shift) == -requantise(total, sig, shift)).all()
    assert (as_float32(-total, scale) == -as_float32(total, scale)).all()
