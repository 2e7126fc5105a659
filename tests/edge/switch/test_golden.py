"""Whether an answer is what it should be."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.errors import GateError
from edge.switch.golden import (
    Answer,
    Tolerance,
    check_answer,
    check_expected,
    check_finite,
    check_latency,
    check_shape,
    is_finite,
    made_from_signature,
    read_golden,
    shape,
)

NUMBERS = st.floats(allow_nan=False, allow_infinity=False, width=32)
DOCUMENTS = st.recursive(
    st.none() | st.booleans() | NUMBERS | st.integers(-1000, 1000) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=3)
    ),
    max_leaves=12,
)


def refused(check: str, call: Any, *arguments: Any) -> str:
    with pytest.raises(GateError) as error:
        call(*arguments)
    assert error.value.check == check
    return str(error.value)


def answer(body: str, status: int = 200) -> Answer:
    return Answer(status, body.encode(), 0.001)


@given(DOCUMENTS)
def test_a_document_is_what_it_is_itself(document: Any) -> None:
    check_expected(document, document, Tolerance(0, 0), "x")
    check_shape(document, document, "x")


@given(st.lists(NUMBERS, min_size=1, max_size=5), st.integers(0, 4))
def test_a_number_beyond_the_tolerance_is_found(numbers: list[float], at: int) -> None:
    other = list(numbers)
    at %= len(other)
    other[at] += 1 + abs(other[at])
    text = refused("tolerance", check_expected, {"y": other}, {"y": numbers}, Tolerance(), "case 1")
    assert f".y[{at}]" in text


def test_a_number_within_the_tolerance_is_right() -> None:
    check_expected([1.00005], [1.0], Tolerance(1e-4, 0), "x")
    check_expected([1000.9], [1000], Tolerance(0, 1e-3), "x")


@pytest.mark.parametrize(
    ("found", "expected", "check"),
    [
        ([1.0, 2.0], [1.0], "shape"),
        ({"a": 1}, {"b": 1}, "shape"),
        ([[1.0]], [1.0], "shape"),
        ("cat", "dog", "tolerance"),
        (True, 1, "shape"),
        (1, True, "shape"),
        (None, 1.0, "shape"),
    ],
)
def test_other_forms_and_words_are_found(found: Any, expected: Any, check: str) -> None:
    refused(check, check_expected, found, expected, Tolerance(), "x")


@pytest.mark.parametrize(
    "body", ["[NaN]", '{"y": [[1, Infinity]]}', '["NaN"]', '{"a": {"b": "-Infinity"}}', "-Infinity"]
)
def test_numbers_that_are_none_are_found_wherever_they_are(body: str) -> None:
    document = check_answer(answer(body), "x")
    refused("finite", check_finite, document, "x")
    assert not is_finite(document)


def test_an_error_is_shown_in_one_line() -> None:
    text = refused("status", check_answer, answer("no\nsuch   model", 500), "golden input 3")
    assert text == "golden input 3: HTTP 500: no such model"


def test_what_is_no_number_may_be_what_is_due() -> None:
    check_expected([float("nan"), "Infinity"], ["NaN", float("inf")], Tolerance(), "x")
    refused("finite", check_expected, [float("inf")], ["-Infinity"], Tolerance(), "x")
    refused("finite", check_expected, ["NaN"], [1.0], Tolerance(), "x")
    refused("shape", check_expected, [1.0], ["NaN"], Tolerance(), "x")


def test_an_answer_that_is_nested_too_deeply_is_no_answer() -> None:
    refused("shape", check_answer, answer("[" * 100_000 + "]" * 100_000), "x")
    refused("shape", check_answer, answer("[" * 300 + "]" * 300), "x")


@pytest.mark.parametrize("body", ["", "plain words", "{"])
def test_a_script_may_answer_anything(body: str) -> None:
    assert check_answer(answer(body), "x") == body.encode()


def test_the_form_of_lists_is_their_length_and_that_of_what_is_in_them() -> None:
    assert shape([[1, 2.5], [3, True]]) == [2, [2, "number"]]
    refused("shape", check_shape, [[1, 2]], [[1], [2]], "x")
    refused("shape", check_shape, {"label": "cat"}, {"label": 3}, "x")
    check_shape({"y": [9.0, 1]}, {"y": [1, 2.5]}, "x")


def test_latency_is_compared_with_a_bound_and_with_the_version_before() -> None:
    refused("latency", check_latency, 0.2, None, 100.0, None, 0.02)
    refused("latency", check_latency, 0.2, 0.01, None, 5.0, 0.02)
    check_latency(0.019, 0.001, None, 5.0, 0.02)  # below the floor nothing is too slow
    check_latency(0.2, 0.1, None, 5.0, 0.02)
    check_latency(0.2, None, None, 5.0, 0.02)


@pytest.mark.parametrize(
    "data",
    [b"", b"[]", b"{}", b'{"v": 2, "cases": [{"input": 1}]}', b'{"v": 1, "cases": []}', b"\xff",
     b'{"v": 1, "cases": [{}]}', b'{"v":1,"cases":[{"input":1}],"tolerance":{"absolute":"x"}}'],
)  # fmt: skip
def test_golden_inputs_that_cannot_be_read_do_not_pass(data: bytes) -> None:
    refused("status", read_golden, data)


def bundle(*inputs: dict[str, Any], engine: str = "onnx") -> bytes:
    return json.dumps({"engine": engine, "models": [{"signature": {"inputs": inputs}}]}).encode()


def test_inputs_are_made_from_the_signature_as_small_as_they_can_be() -> None:
    found = made_from_signature(
        bundle(
            {"name": "x", "dtype": "float32", "shape": ["N", 2]},
            {"name": "words", "dtype": "string", "shape": [1]},
            {"name": "n", "dtype": "int64", "shape": []},
        )
    )
    assert found is not None
    assert found.cases[0].input == {"x": [[0.0, 0.0]], "words": [""], "n": 0}


@pytest.mark.parametrize(
    "data",
    [
        b"?",
        bundle(engine="script"),
        bundle(),
        bundle({"name": "x", "dtype": "float32", "shape": None}),
        bundle({"name": "x", "dtype": "sequence<float32>", "shape": [1]}),
        bundle({"name": "x", "dtype": "float32", "shape": [100_000, 100_000]}),
    ],
)
def test_where_nobody_says_what_goes_in_there_is_no_input(data: bytes) -> None:
    assert made_from_signature(data) is None


@pytest.mark.parametrize(
    ("found", "expected"), [(10**400, 1.0), (1.0, 10**400), (-(10**4000), 0.5)]
)
def test_a_whole_number_that_no_float_holds_is_just_another_number(
    found: float, expected: float
) -> None:
    with pytest.raises(GateError) as caught:
        check_expected({"y": [found]}, {"y": [expected]}, Tolerance(), "a case")
    assert caught.value.check == "tolerance"
    check_expected([10**400], [10**400], Tolerance(), "a case")
