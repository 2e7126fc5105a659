"""Answers of a batch, one for each request, are those that each request alone would get."""

from __future__ import annotations

import json
from typing import Any

import ml_dtypes
import numpy as np
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from scoring.tensors import encode_each, encode_response


def _alone(outputs: dict[str, Any], rows: list[int]) -> list[bytes]:
    ends = np.cumsum(rows).tolist()
    return [
        encode_response({name: value[end - count : end] for name, value in outputs.items()})
        for end, count in zip(ends, rows, strict=True)
    ]


@pytest.mark.slow
@given(st.data())
@settings(deadline=None, max_examples=100)
def test_a_batch_is_cut_into_the_answers_of_its_requests(data: st.DataObject) -> None:
    rows = data.draw(st.lists(st.integers(0, 3), min_size=1, max_size=4))
    dtypes = st.sampled_from(["float32", "float64", "int64", "uint8", "bool", "float16"])
    names = st.sampled_from(["y", "null", 'a"b', "%s", "é", "x:0"])
    outputs = {
        name: data.draw(arrays.arrays(data.draw(dtypes), (sum(rows), *inner)))
        for name, inner in data.draw(
            st.dictionaries(names, st.lists(st.integers(0, 3), max_size=3), min_size=1)
        ).items()
    }
    assert encode_each(outputs, rows) == _alone(outputs, rows)


@pytest.mark.parametrize(
    "value",
    [
        np.array(["a", "null", "c]],[["], dtype=object),
        np.array([[0.5], [np.nan], [1.0]], np.float32),
        np.array([1, 2, 3], ml_dtypes.bfloat16),
        [{0: 0.5, 1: float("nan")}, {0: 1.0}, {}],
        np.arange(6).reshape(2, 3).T,
        np.array([1j, 2, 3]),
    ],
)
def test_what_is_no_plain_array_is_cut_too(value: Any) -> None:
    outputs = {"label": np.array([1, 2, 3]), "y": value}
    answers = encode_each(outputs, [1, 2])
    assert answers == _alone(outputs, [1, 2])
    assert [len(orjson.loads(answer)["y"]) for answer in answers] == [1, 2]


def test_text_that_says_null_stays_text() -> None:
    outputs = {"null": np.array([np.inf]), "y": np.array(["null"], dtype=object), "z": None}
    assert json.loads(encode_response(outputs)) == {"null": ["Infinity"], "y": ["null"], "z": None}
