"""What a batch of points writes: pure."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry.errors import InvalidNameError
from registry.tracking.points import BLOCK, Series, check_points, plan
from registry.tracking.records import Point

floats = st.floats(allow_nan=True, allow_infinity=True)
batches = st.lists(
    st.tuples(
        st.sampled_from("abc"),
        floats,
        st.none() | st.integers(-5, 5),
        st.integers(-1000, 1000),
    ),
    max_size=200,
)


@given(batches, st.integers(1, 199))
def test_it_does_not_matter_how_points_are_cut_into_batches(points: list[Point], cut: int) -> None:
    whole = plan(points, {}, 0)
    first = plan(points[:cut], {}, 0)
    second = plan(points[cut:], first.series, len(first.series))
    assert repr([*first.points, *second.points]) == repr(whole.points)
    assert repr({**first.series, **second.series}) == repr(whole.series)


@given(batches)
def test_a_series_says_what_its_points_are(points: list[Point]) -> None:
    written = plan(points, {}, 0)
    for key, series in written.series.items():
        values = [value for name, value, _, _ in points if name == key]
        numbers = [value for value in values if not math.isnan(value)]
        assert series.count == len(values)
        assert repr(series.min) == repr(min(numbers, default=math.nan))
        assert repr(series.max) == repr(max(numbers, default=math.nan))
        steps = [row[3] for row in written.points if row[0] == series.metric]
        assert series.step == max(steps)


def test_the_latest_value_is_that_of_the_highest_step_then_of_the_latest_time() -> None:
    points: list[Point] = [
        ("a", 1.0, 5, 10),
        ("a", 2.0, 4, 99),
        ("a", 3.0, 5, 9),
        ("a", 4.0, 5, 10),
    ]
    assert plan(points, {}, 0).series["a"].value == 4.0


def test_a_point_without_a_step_gets_the_number_of_those_before() -> None:
    before = {"a": Series(0, count=7)}
    rows = plan([("a", 1.0, None, 0), ("a", 1.0, None, 0)], before, 1).points
    assert [row[3] for row in rows] == [7, 8]


def test_blocks_hold_the_extremes_of_their_neighbours() -> None:
    points: list[Point] = [("a", float(n), None, n) for n in range(2 * BLOCK + 1)]
    blocks = plan(points, {}, 0).blocks
    assert [(block[1], block[2], block[6], block[7]) for block in blocks] == [
        (0, BLOCK, 0.0, BLOCK - 1.0),
        (1, BLOCK, float(BLOCK), 2 * BLOCK - 1.0),
        (2, 1, 2.0 * BLOCK, 2.0 * BLOCK),
    ]


@pytest.mark.parametrize(
    ("point", "complaint"),
    [
        (("", 1.0, 0, 0), "is empty"),
        (("a\n", 1.0, 0, 0), "control character"),
        (("a" * 251, 1.0, 0, 0), "251 characters"),
        (("a", 1, 0, 0), "must be a float"),
        (("a", "1", 0, 0), "must be a float"),
        (("a", 1.0, 2**63, 0), "does not fit 64 bits"),
        (("a", 1.0, 0, -(2**63) - 1), "does not fit 64 bits"),
        (("a", 1.0, True, 0), "must be an integer"),
        (("a", 1.0, 1.5, 0), "must be an integer"),
    ],
)
def test_what_cannot_be_kept_is_refused_with_its_reason(point: Point, complaint: str) -> None:
    with pytest.raises(InvalidNameError, match=complaint):
        check_points([point])
