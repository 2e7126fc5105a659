"""Bars out of characters."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from runtime.bench.chart import EIGHTHS, chart, fitted

VALUES = st.lists(st.none() | st.floats(0, 1e12), max_size=300)


def test_the_largest_value_is_as_high_as_the_chart() -> None:
    assert chart([4.0, 2.0, 0.0, None, 1.0], width=10, height=2) == ["█", "██  ▄"]


def test_what_is_not_nothing_is_seen() -> None:
    assert chart([1e9, 1.0], width=10, height=1) == ["█▁"]


@given(VALUES, st.integers(1, 80), st.integers(1, 6))
def test_a_chart_never_leaves_its_frame(
    values: list[float | None], width: int, height: int
) -> None:
    lines = chart(values, width=width, height=height)
    assert len(lines) == height
    assert all(len(line) <= width and set(line) <= set(EIGHTHS) for line in lines)


@given(VALUES, st.integers(1, 80))
def test_of_many_values_the_largest_stay(values: list[float | None], width: int) -> None:
    known = [value for value in values if value is not None]
    shown = [value for value in fitted(values, width) if value is not None]
    assert max(known, default=None) == max(shown, default=None)
