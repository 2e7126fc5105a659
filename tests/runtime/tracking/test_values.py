"""What may be logged, in which shape it is kept, and what is refused."""

from __future__ import annotations

import json
import math
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry.errors import InvalidNameError
from runtime.tracking import values

MATRIX = {
    "schema_type": "confusion_matrix",
    "data": {"class_labels": ["a", "b"], "matrix": [[3, 1], [0, 2]]},
}


@pytest.mark.parametrize(
    ("value", "expected"),
    [(1, 1.0), (True, 1.0), (np.float32(0.5), 0.5), (np.int64(3), 3.0), (np.array(2.5), 2.5)],
)
def test_a_number_of_any_kind_is_a_float(value: Any, expected: float) -> None:
    found = values.number("a", value)
    assert (type(found), found) == (float, expected)


@pytest.mark.parametrize("value", ["1", b"1", None, [1], np.array([1, 2]), 1j, object(), 10**400])
def test_what_is_no_number_is_refused(value: Any) -> None:
    with pytest.raises(InvalidNameError):
        values.number("a", value)


def test_arrays_times_and_what_json_lacks_become_json() -> None:
    given = [np.arange(3), {"a": np.float64(math.nan)}, (math.inf, -math.inf), None, True, {1: 2}]
    assert json.loads(values.list_document("a", given)) == [
        [0, 1, 2],
        {"a": "NaN"},
        ["Infinity", "-Infinity"],
        None,
        True,
        {"1": 2},
    ]
    at = datetime(2026, 1, 1, tzinfo=UTC)
    assert values.list_document("a", [at]) == '["2026-01-01T00:00:00+00:00"]'


def test_a_table_has_columns_of_equal_length() -> None:
    table = {"x": [1, 2], "y": np.array([0.5, 1.5])}
    assert json.loads(values.table_document("t", table)) == {"x": [1, 2], "y": [0.5, 1.5]}
    assert json.loads(values.table_document("t", {"x": 1})) == {"x": [1]}
    wrong: list[Any] = [{"x": [1], "y": [1, 2]}, {}, [1, 2], "x"]
    for each in wrong:
        with pytest.raises(InvalidNameError):
            values.table_document("t", each)


def test_a_list_is_a_list_and_a_row_has_columns() -> None:
    wrong: list[Any] = [5, "text", {"a": 1}]
    for each in wrong:
        with pytest.raises(InvalidNameError, match="must be a list"):
            values.list_document("a", each)
    with pytest.raises(InvalidNameError, match="no columns"):
        values.row_document("a", {})


def test_what_cannot_be_json_is_refused() -> None:
    deep: Any = []
    for _ in range(100):
        deep = [deep]

    class Itself:
        def tolist(self) -> Itself:
            return self

    for each in ([object()], deep, [Itself()], [b"bytes"]):
        with pytest.raises(InvalidNameError):
            values.list_document("a", each)


def test_a_confusion_matrix_is_that_of_azure() -> None:
    forms: list[Any] = [MATRIX, json.dumps(MATRIX), {"data": MATRIX["data"]}]
    for each in forms:
        found = json.loads(values.schema_document("m", "confusion_matrix", each))
        assert found == {**MATRIX, "schema_version": "v1"}


@pytest.mark.parametrize(
    "value",
    [
        "",
        "{",
        "[]",
        "[" * 100_000,
        {},
        {"data": {}},
        {"data": 1},
        {"data": {"class_labels": ["a"], "matrix": [[1, 2]]}},
        {"data": {"class_labels": ["a"], "matrix": 5}},
        {"data": {"class_labels": 5, "matrix": []}},
        {**MATRIX, "schema_type": "residuals"},
    ],
)
def test_a_wrong_matrix_is_refused(value: Any) -> None:
    with pytest.raises(InvalidNameError) as caught:
        values.schema_document("m", "confusion_matrix", value)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("kind", ["accuracy_table", "residuals", "predictions"])
def test_the_other_documents_of_azure_have_their_data(kind: str) -> None:
    data: dict[str, list[int]] = {key: [] for key in values.SCHEMAS[kind]}
    assert json.loads(values.schema_document("a", kind, {"data": data}))["schema_type"] == kind
    del data[values.SCHEMAS[kind][0]]
    with pytest.raises(InvalidNameError, match="lacks"):
        values.schema_document("a", kind, {"data": data})


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)


@given(json_values)
def test_any_json_is_kept_as_strict_json(value: Any) -> None:
    def refuse(text: str) -> None:
        raise AssertionError(text)

    json.loads(values.dump(values.plain("a", value)), parse_constant=refuse)
