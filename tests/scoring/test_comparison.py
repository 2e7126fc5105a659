"""What counts as the same answer."""

from __future__ import annotations

import json
import math
import warnings
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from scoring.watching.comparison import (
    Comparison,
    Tolerances,
    Verdict,
    compare,
    compare_bodies,
    no_comparison,
)

EQUAL, CLOSE, DIFFERENT = Verdict.EQUAL, Verdict.CLOSE, Verdict.DIFFERENT
any_array = arrays.arrays(
    st.sampled_from(["f2", "f4", "f8", "i1", "i8", "u1", "u8", "?", "U3"]),
    arrays.array_shapes(min_dims=0, max_side=4),
)
documents = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=2), inner),
    max_leaves=12,
)


def of(a: Any, b: Any, **tolerances: float) -> Comparison:
    return compare({"y": np.asarray(a)}, {"y": np.asarray(b)}, Tolerances(**tolerances))


@settings(max_examples=25)
@given(any_array)
def test_an_array_equals_its_copy(array: np.ndarray[Any, Any]) -> None:
    assert compare({"y": array}, {"y": array.copy()}).verdict == EQUAL


@settings(max_examples=25)
@given(any_array, any_array)
def test_comparing_never_raises_warns_or_depends_on_the_order(
    a: np.ndarray[Any, Any], b: np.ndarray[Any, Any]
) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        there, back = of(a, b), of(b, a)
    assert (there.verdict, there.max_absolute, there.max_relative, there.disagreeing_rows) == (
        (back.verdict, back.max_absolute, back.max_relative, back.disagreeing_rows)
    )
    assert 0 <= there.max_relative <= 2


@settings(max_examples=25)
@given(documents, documents)
def test_any_documents_can_be_compared(a: Any, b: Any) -> None:
    first, second = json.dumps(a).encode(), json.dumps(b, indent=1).encode()
    assert compare_bodies(first, json.dumps(a, indent=2).encode()).verdict == EQUAL
    there, back = compare_bodies(first, second), compare_bodies(second, first)
    assert there.verdict == back.verdict


def test_floats_are_close_within_the_tolerances() -> None:
    found = of([1.0, 2.0], [1.0, 2.5], relative=0.2)
    assert found == Comparison(CLOSE, "y: close", max_absolute=0.5, max_relative=0.2)
    assert of([1.0], [1.01], relative=1e-3).verdict == DIFFERENT
    assert of([0.0], [1e-7], absolute=1e-6).verdict == CLOSE
    assert of([0.0], [1e-5], absolute=1e-6).verdict == DIFFERENT


def test_integers_are_equal_or_not() -> None:
    text = "y: other numbers, by 1 at most"
    assert of([999_999], [1_000_000]) == Comparison(DIFFERENT, text, 1.0, 1e-6)
    assert of(np.array([0], np.uint8), np.array([255], np.uint8)).max_absolute == 255
    assert of([2**63 - 1], [2**63 - 2]).verdict == DIFFERENT


def test_the_width_of_floats_does_not_matter() -> None:
    half = np.array([0.5, 0.25], ml_dtypes.bfloat16)
    assert compare({"y": half}, {"y": np.array([0.5, 0.25])}).verdict == EQUAL
    assert of(np.array([0.1], np.float32), [0.1]).verdict == CLOSE


def test_nan_and_infinity() -> None:
    assert of([math.nan, math.inf], [math.nan, math.inf]).verdict == EQUAL
    assert of([math.nan], [1.0]).max_absolute == math.inf
    assert of([math.inf], [1.0]).verdict == DIFFERENT
    assert of([-math.inf], [math.inf]).max_absolute == math.inf


def test_rows_whose_largest_output_is_another_one_are_counted() -> None:
    found = of([[0.6, 0.4], [0.5, 0.5], [0.1, 0.9]], [[0.4, 0.6], [0.5, 0.5], [0.2, 0.8]])
    assert (found.rows, found.disagreeing_rows) == (3, 1)
    assert of([0.6, 0.4], [0.4, 0.6]).rows == 0  # two rows of one column, for all we know
    assert of([[1, 2]], [[2, 1]]).rows == 0  # integers are no scores
    body = compare_bodies(b"[[0.6, 0.4]]", b"[[0.4, 0.6]]")
    assert (body.rows, body.disagreeing_rows) == (1, 1)


def test_the_first_difference_is_told() -> None:
    assert of([[1.0]], [1.0]).text == "y: shape [1], not [1, 1]"
    assert of(["a"], ["b"]).text == "y: other values"
    a = {"label": np.array([1]), "more": np.array([1])}
    b = {"label": np.array([1]), "other": np.array([1])}
    assert compare(a, b).text == "outputs: only one has more, other"
    assert compare_bodies(b'{"a": [{"b": 1}]}', b'{"a": [{"b": 2}]}').text == (
        "$.a[0].b: other numbers, by 1 at most"
    )
    assert compare_bodies(b'["x"]', b'["x", "y"]').text == "$: 2 items, not 1"


def test_maps_in_a_sequence_are_compared_by_key() -> None:
    probabilities = [{0: 0.25, 1: 0.75}], [{0: 0.2501, 1: 0.7499}]
    found = compare({"p": probabilities[0]}, {"p": probabilities[1]})
    assert found.verdict == CLOSE
    assert found.max_absolute == pytest.approx(1e-4)


def test_text_that_holds_json_is_compared_as_json() -> None:
    a, b = json.dumps('{"y": [1.0, 2]}').encode(), json.dumps('{"y":[1.0000001,2]}').encode()
    assert compare_bodies(a, b).verdict == CLOSE


def test_what_is_no_json_is_compared_byte_by_byte() -> None:
    assert compare_bodies(b"\x89PNG", b"\x89PNG").verdict == EQUAL
    assert compare_bodies(b"\x89PNG", b"[1]").verdict == DIFFERENT
    assert compare_bodies(b'"a"', b'"b"').verdict == DIFFERENT
    assert compare_bodies(b"[NaN]", b"[ NaN]").verdict == EQUAL
    assert compare_bodies(b"[1, true]", b"[1, 1]").verdict == DIFFERENT
    assert compare_bodies(b"[" * 5000 + b"]" * 5000, b"[1]").verdict == DIFFERENT


def test_no_answer_is_an_error() -> None:
    assert no_comparison("timed out") == Comparison(Verdict.ERROR, "timed out")
