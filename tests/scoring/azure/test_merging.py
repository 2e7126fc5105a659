"""Which run() is seen to be row-wise, what goes together, and how results are split."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable
from itertools import count
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from inference_schema.parameter_types.numpy_parameter_type import NumpyParameterType
from inference_schema.parameter_types.pandas_parameter_type import PandasParameterType
from inference_schema.parameter_types.standard_py_parameter_type import StandardPythonParameterType
from inference_schema.schema_decorators import input_schema, output_schema

from scoring.azure.input_schema import has_foreign_wrapper, input_schemas
from scoring.azure.proof import DisprovedError, Trial
from scoring.azure.row_inputs import ListRows, NumpyRows, PandasRows, Rows, rows_of
from scoring.azure.row_outputs import NotRowsError, same, split

ONE = np.array([[0.5, 1.5, 2.0]], dtype=np.float32)
TWO = np.array([[1, 2], [3, 5]])
FRAME = pd.DataFrame({"kind": ["a"], "size": [2], "rate": [0.25]})
LIST = [[1.0, 2.0], [3.0, 4.5]]


def _rows(sample: Any) -> Rows:
    if isinstance(sample, np.ndarray):
        found = rows_of(NumpyParameterType(sample))
    elif isinstance(sample, pd.DataFrame):
        found = rows_of(PandasParameterType(sample))
    else:
        found = rows_of(StandardPythonParameterType(sample))
    assert not isinstance(found, str), found
    return found


def _weights(x: Any) -> Any:
    return np.asarray(x, dtype=np.float64).reshape(len(x), -1).sum(axis=1)


ROW_WISE: dict[str, tuple[Any, Callable[[Any], Any]]] = {
    "list": (ONE, lambda x: (x * 2).tolist()),
    "dict of lists": (ONE, lambda x: {"sum": _weights(x).tolist(), "max": x.max(axis=1).tolist()}),
    "float noise": (ONE, lambda x: [float(v) * (1 + 1e-7 * len(x)) for v in _weights(x)]),
    "json text": (ONE, lambda x: json.dumps({"result": _weights(x).tolist()})),
    "changes its input": (ONE, lambda x: x.__imul__(2).tolist()),
    "integers": (TWO, lambda x: _weights(x).tolist()),
    "classes far apart": (ONE, lambda x: (_weights(x) > 6).astype(int).tolist()),
    "1-d": (np.array([1.0, 2.0]), lambda x: (x + 1).tolist()),
    "booleans": (np.array([[True, False]]), lambda x: (~x).tolist()),
    "texts": (np.array([["a"], ["bb"]]), lambda x: np.char.upper(x).tolist()),
    "tuple": (ONE, lambda x: tuple(_weights(x).tolist())),
    "data frame": (FRAME, lambda df: (df["size"] * df["rate"]).tolist()),
    "to_dict": (FRAME, lambda df: df.to_dict(orient="records")),
    "to_json": (FRAME, lambda df: df.to_json(orient="records")),
    "lists": (LIST, lambda rows: [sum(row) for row in rows]),
    "records": ([{"a": 1}, {"a": 2}], lambda rows: [row["a"] + 1 for row in rows]),
}
_calls = count()
_kept: list[float] = []


def _keep(x: Any) -> list[float]:
    _kept.extend(_weights(x).tolist())
    return _kept


NOT_ROW_WISE: dict[str, tuple[Any, Callable[[Any], Any], str]] = {
    "mean of all": (ONE, lambda x: (x - x.mean()).tolist(), "rows around it"),
    "centred columns": (TWO, lambda x: (x - x.mean(axis=0)).tolist(), "rows around it"),
    "scaled by the largest": (ONE, lambda x: (x / x.max()).tolist(), "rows around it"),
    "running sum": (ONE, lambda x: x.cumsum(axis=0).tolist(), "rows around it"),
    "rank": (ONE, lambda x: _weights(x).argsort().argsort().tolist(), "rows around it"),
    "numbered": (
        ONE,
        lambda x: [[i, float(v)] for i, v in enumerate(_weights(x))],
        "rows around it",
    ),
    "index of a frame": (FRAME, lambda df: df.reset_index().values.tolist(), "rows around it"),
    "one number": (ONE, lambda x: float(x.sum()), "a float"),
    "number in a dict": (ONE, lambda x: {"all": _weights(x).tolist(), "n": len(x)}, "an int"),
    "mixed dict": (ONE, lambda x: {"y": _weights(x).tolist(), "model": "v1"}, "a str"),
    "columns first": (ONE, lambda x: x.T.tolist(), "3 entries for 1 row"),
    "one row only": (ONE, lambda x: x[:1].tolist(), "entries for"),
    "array": (ONE, lambda x: x, "fails on its sample: TypeError"),
    "raises": (ONE, lambda x: 1 / 0, "fails on its sample: ZeroDivisionError"),
    "exits": (ONE, lambda x: exit(), "fails on its sample: SystemExit"),
    "counter": (ONE, lambda x: [next(_calls)] * len(x), "differently each time"),
    "grows": (ONE, _keep, "entries for 1 row"),
    "constant": (ONE, lambda x: [1] * len(x), "does not change"),
    "frame as dict": (FRAME, lambda df: df.to_dict(), "not a list"),
    "plain text": (ONE, lambda x: "ok", "not plain JSON"),
    "text in text": (ONE, lambda x: json.dumps(json.dumps([1])), "text in text"),
    "only one row works": (ONE, lambda x: [float(x.reshape(3).sum())], "fails on its sample"),
    "int or float by its neighbours": (
        [[1, 2]],
        lambda rows: [[*row, 0] for row in rows] if len(rows) < 3 else np.add(rows, 0.0).tolist(),
        "rows around it",
    ),
}


@pytest.mark.parametrize("name", ROW_WISE)
def test_a_row_wise_run_is_seen(name: str) -> None:
    sample, run = ROW_WISE[name]
    trial = Trial(run, _rows(sample))
    trial.prove()
    assert 4 <= trial.calls <= 10


@pytest.mark.parametrize("name", NOT_ROW_WISE)
def test_any_other_run_is_refused_with_a_reason(name: str) -> None:
    sample, run, reason = NOT_ROW_WISE[name]
    with pytest.raises(DisprovedError, match=reason):
        Trial(run, _rows(sample)).prove()


def test_a_slow_run_is_given_up() -> None:
    clock = iter([0.0, *[9.98] * 20])
    started = time.monotonic()
    with pytest.raises(DisprovedError, match="takes too long"):
        Trial(lambda _: time.sleep(60), _rows(ONE), lambda: next(clock)).prove()
    assert time.monotonic() - started < 30


@pytest.mark.parametrize(
    ("parameter_type", "why"),
    [
        (NumpyParameterType(np.zeros((0, 3))), "empty"),
        (NumpyParameterType(np.array(["2026-01-31"], dtype="datetime64[D]")), "datetime64"),
        (PandasParameterType(FRAME[:0]), "empty"),
        (StandardPythonParameterType([]), "empty"),
        (StandardPythonParameterType("text"), "no numpy array"),
        (StandardPythonParameterType({"a": [1]}), "no numpy array"),
        (StandardPythonParameterType([NumpyParameterType(ONE)]), "other parameter types"),
    ],
)
def test_other_samples_are_refused(parameter_type: Any, why: str) -> None:
    found = rows_of(parameter_type)
    assert isinstance(found, str)
    assert why in found


def test_arrays_go_together_only_if_they_are_like_the_sample() -> None:
    rows = NumpyRows(ONE, any_number=False)
    like = np.zeros((5, 3), dtype=np.float32)
    assert rows.key(ONE) == rows.key(like) is not None
    gap = like.copy()
    gap[0, 0] = math.nan
    for other in [
        np.zeros((5, 4), np.float32),
        np.zeros(3, np.float32),
        np.zeros((0, 3), np.float32),
        np.zeros((1, 3)),
        gap,
        ONE.tolist(),
    ]:
        assert rows.key(other) is None
    free = NumpyRows(ONE, any_number=True)
    keys = {free.key(np.zeros((1, 3), dtype)) for dtype in ("f4", "f8", "i8", "u8")}
    assert len(keys) == 4
    assert free.key(np.array([["a", "b", "c"]])) is None


def test_frames_go_together_only_if_they_are_alike() -> None:
    rows = PandasRows(FRAME)
    assert rows.key(FRAME) == rows.key(pd.concat([FRAME, FRAME], ignore_index=True)) is not None
    assert rows.key(FRAME[["size", "kind", "rate"]]) not in (None, rows.key(FRAME))
    assert rows.key(FRAME.astype({"size": float})) not in (None, rows.key(FRAME))
    for other in [
        FRAME[:0],
        FRAME.set_axis([7]),
        FRAME.assign(rate=math.nan),
        FRAME.assign(kind=None),
        [FRAME],
    ]:
        assert rows.key(other) is None
    mixed = [
        pd.DataFrame({"x": pd.Series(cells, dtype=object)}) for cells in ([1], ["a"], [1, "a"])
    ]
    assert len({rows.key(frame) for frame in mixed}) == 3


def test_lists_go_together_only_if_their_rows_look_alike() -> None:
    rows = ListRows([[1.0, 2.0]])
    key = rows.key([[1.5, 2.5]])
    assert key == rows.key([[0.0, 1e300], [3.0, -1.0]]) is not None
    assert rows.key([[1, 2]]) not in (None, key)
    assert rows.key([[1, 2.5]]) not in (None, key, rows.key([[1, 2]]))
    for other in [
        [],
        [[1.0]],
        [1.0, 2.0],
        [[1.0, 2.0], [1, 2]],
        [[1.0, math.nan]],
        [[1.0, None]],
        [[1, 2**63]],
        [[1.0, "x"]],
        [[True, False]],
        [[[1.0], 2.0]],
        ([1.0, 2.0],),
        "ab",
    ]:
        assert rows.key(other) is None, other
    records = ListRows([{"a": 1, "b": "x"}])
    assert records.key([{"a": 5, "b": "y"}]) == records.key([{"a": 7, "b": ""}]) is not None
    assert records.key([{"a": 5}]) is None


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=5,
)


@given(st.lists(st.lists(json_values, max_size=4), max_size=4), st.sampled_from(range(4)))
def test_a_joined_answer_is_split_into_each_ones_own(parts: list[list[Any]], style: int) -> None:
    joined = [row for part in parts for row in part]
    counts = [len(part) for part in parts]
    assert _text(split(joined, counts)) == _text(parts)
    assert _text(split({"a": joined, "b": joined}, counts)) == _text(
        [{"a": part, "b": part} for part in parts]
    )
    how: dict[str, Any] = {
        "ensure_ascii": style % 2 == 0,
        "separators": (",", ":") if style > 1 else (", ", ": "),
    }
    assert split(json.dumps(joined, **how), counts) == [json.dumps(part, **how) for part in parts]


def _text(value: object) -> str:
    return json.dumps(value)  # NaN is itself in there


@pytest.mark.parametrize(
    "value",
    [
        *(None, 3, 2.5, True, "x", "[1, 2", '"x"', '{"a": [1],  "b": [2]}', {}, {"a": 1}, [1]),
        *([1] * 3, {"a": [1, 2], "b": [1]}, {1, 2}, np.zeros(2), b"12"),
    ],
)
def test_what_has_no_row_for_each_is_refused(value: Any) -> None:
    with pytest.raises(NotRowsError):
        split(value, [1, 1])


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        (1.0, 1.000001, True),
        (1.0, 1.0001, False),
        (math.nan, math.nan, True),
        (1, 1.0, False),
        (1, True, False),
        ([1.0, "a"], [1.0000001, "a"], True),
        ([1.0], [1.0, 1.0], False),
        ({"a": [0.0]}, {"a": [1e-9]}, True),
        ({"a": 1}, {"b": 1}, False),
    ],
)
def test_sameness(one: Any, other: Any, expected: bool) -> None:
    assert same(one, other) == expected


def test_the_decorators_of_inference_schema_are_read() -> None:
    def run(a: Any, b: Any) -> None:
        pass

    run = input_schema("a", NumpyParameterType(ONE), optional=True)(run)
    run = input_schema("b", StandardPythonParameterType(1), convert_to_provided_type=False)(run)
    run = output_schema(StandardPythonParameterType([1]))(run)
    first, second = input_schemas(run)
    assert (first.parameter, first.converts, first.optional) == ("b", False, False)
    assert (second.parameter, second.converts, second.optional) == ("a", True, True)
    assert first.convert("as it is") == "as it is"
    assert second.convert([[1, 2, 3]]).dtype == np.float32
    assert not has_foreign_wrapper(run)
    assert has_foreign_wrapper(lambda a, b: run(a, b))
    assert input_schemas(lambda a: a) == []
