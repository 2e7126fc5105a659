"""Rows of tensors: what can share a batch, the way in and back, and values to try a model with."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from scoring import rows
from scoring.signature import Signature, TensorSpec

FREE = TensorSpec("x", "float32", ("N", 3))


def _floats(*shape: int) -> NDArray[Any]:
    return np.random.default_rng(0).random(shape, np.float32)


def _obstacle(*inputs: TensorSpec, outputs: tuple[TensorSpec, ...] = (FREE,)) -> str | None:
    return rows.obstacle(Signature(inputs, outputs))


def test_a_free_first_dimension_everywhere_is_no_obstacle() -> None:
    assert _obstacle(FREE) is None
    assert _obstacle(FREE, TensorSpec("y", "int64", ("N",))) is None
    assert _obstacle(TensorSpec("x", "float32", (None, 3))) is None


@pytest.mark.parametrize(
    ("spec", "reason"),
    [
        (TensorSpec("y", "float32", (1, 3)), "the first dimension of 'y' is fixed"),
        (TensorSpec("y", "float32", ()), "the first dimension of 'y' is fixed"),
        (TensorSpec("y", "float32", None), "the first dimension of 'y' is fixed"),
        (TensorSpec("y", "float32", None, is_sequence=True), "'y' is no plain tensor"),
        (TensorSpec("y", "map", None), "'y' is no plain tensor"),
    ],
)
def test_what_cannot_be_merged_is_named(spec: TensorSpec, reason: str) -> None:
    assert _obstacle(FREE, spec) == reason
    assert _obstacle(FREE, outputs=(FREE, spec)) == reason


def test_inputs_that_count_different_things_cannot_be_merged() -> None:
    other = TensorSpec("y", "float32", ("M", 3))
    assert _obstacle(FREE, other) == "the inputs' first dimensions have different names"
    assert _obstacle() == "the model has no inputs"


def test_rows_are_the_first_dimension() -> None:
    assert rows.rows_of({"x": _floats(5, 3)}) == 5
    assert rows.rows_of({"x": np.float32(1)}) == 1
    assert rows.rows_of({"x": [_floats(2)]}) == 1
    assert rows.rows_of({"x": _floats(0, 3)}) == 1, "an empty request takes a place as well"
    assert rows.rows_of({}) == 1


def test_equal_dtypes_and_inner_shapes_share_a_key_whatever_the_rows() -> None:
    key = rows.key_of({"x": _floats(2, 3)})
    assert key is not None
    assert key == rows.key_of({"x": _floats(7, 3)})
    assert key != rows.key_of({"x": _floats(2, 4)})
    assert key != rows.key_of({"x": _floats(2, 3).astype(np.float64)})
    assert key != rows.key_of({"y": _floats(2, 3)})
    assert key != rows.key_of({"x": _floats(2, 3), "y": _floats(2, 3)})


def test_inputs_of_different_rows_share_nothing() -> None:
    assert rows.key_of({"x": _floats(2, 3), "y": _floats(2)}) is not None
    assert rows.key_of({"x": _floats(2, 3), "y": _floats(1)}) is None
    assert rows.key_of({"x": _floats(2, 3), "y": np.float32(1)}) is None
    assert rows.key_of({"x": _floats(0, 3)}) is None
    assert rows.key_of({"x": _floats(0, 3), "y": _floats(0)}) is None


@given(st.lists(st.integers(1, 5), min_size=1, max_size=6))
def test_merged_inputs_have_the_rows_of_all_in_order(counts: list[int]) -> None:
    batch = [
        {"x": np.full((count, 2), index), "s": np.full(count, str(index), object)}
        for index, count in enumerate(counts)
    ]
    merged = rows.merged(batch)
    expected = [index for index, count in enumerate(counts) for _ in range(count)]
    assert merged["x"][:, 0].tolist() == expected
    assert merged["s"].tolist() == [str(index) for index in expected]
    assert rows.fits(merged, sum(counts))
    assert not rows.fits(merged, sum(counts) + 1)


def test_outputs_fit_when_each_has_the_rows() -> None:
    assert not rows.fits({"a": _floats(3, 2), "b": _floats(2, 2)}, 3)
    assert not rows.fits({"a": np.float32(1)}, 1)


@pytest.mark.parametrize(
    "dtype",
    [
        *("float32", "float16", "float64", "bfloat16", "float8_e4m3fn", "float8_e8m0fnu"),
        *("int8", "uint8", "int32", "int64", "uint64", "int4", "uint4", "int2", "uint2"),
        *("bool", "string"),
    ],
)
@pytest.mark.parametrize("shape", [("N",), ("N", 1), ("N", None, 2)])
def test_made_up_rows_differ_in_every_column(dtype: str, shape: tuple[Any, ...]) -> None:
    """Else a mean over all rows would look as if it were row by row."""
    for seed in range(5):
        made = rows.made_up(TensorSpec("x", dtype, shape), 3, seed)
        assert made is not None
        assert made.shape == (3, *(1 if dim is None else dim for dim in shape[1:]))
        for column in made.reshape(3, -1).T:
            assert len(set(column.tolist())) > 1
            if "float8" not in dtype:
                assert column[::-1].tolist() != column.tolist(), "the same from its other end"
        if "int" in dtype or dtype == "bool":
            assert set(made.astype(np.int64).reshape(-1).tolist()) == {0, 1}
        again = rows.made_up(TensorSpec("x", dtype, shape), 3, seed)
        assert again is not None
        assert again.tobytes() == made.tobytes() or dtype == "string"


def test_nothing_is_made_up_for_sequences_and_unknown_shapes() -> None:
    assert rows.made_up(TensorSpec("x", "float32", None), 3, 0) is None
    assert rows.made_up(TensorSpec("x", "float32", (3,), is_sequence=True), 3, 0) is None


@pytest.mark.parametrize("dtype", ["float32", "int64", "string"])
def test_scalars_stay_scalars(dtype: str) -> None:
    made = rows.made_up(TensorSpec("x", dtype, ()), 3, 0)
    assert made is not None
    assert made.shape == ()


def _same(first: Any, second: Any) -> bool:
    return rows.same({"x": np.asarray(first)}, {"x": np.asarray(second)})


def test_answers_are_the_same_up_to_rounding() -> None:
    assert _same([1.0, 2.0], [1.0 + 1e-6, 2.0])
    assert not _same([1.0, 2.0], [1.01, 2.0])
    assert _same([100.0, 1e-4], [100.0, 3e-4]), "lost in what was added up beside it"
    assert not _same([1e-7, 2e-7], [2e-7, 2e-7]), "small, but nothing beside it is larger"
    assert _same([np.nan, np.inf], [np.nan, np.inf])
    assert not _same([np.nan], [0.0])
    assert not _same([1.0], [np.inf])


def test_answers_of_another_shape_dtype_or_value_are_not_the_same() -> None:
    assert not _same([1.0], [[1.0]])
    assert not _same(np.ones(1, np.float32), np.ones(1, np.float64))
    assert _same([1, 2], [1, 2])
    assert not _same([1, 2], [1, 3])
    assert _same(np.array(["a"], object), np.array(["a"], object))
    assert not _same(np.array(["a"], object), np.array(["b"], object))
