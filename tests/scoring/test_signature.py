"""Names, dtypes and shapes as people read them, and whether an array fits."""

from __future__ import annotations

import numpy as np
import pytest

from scoring.errors import InputError
from scoring.signature import Dim, Signature, TensorSpec, check_shape, shape_text


@pytest.mark.parametrize(
    ("shape", "text"),
    [((), "[]"), (("N", 64), "[N,64]"), ((None, 3), "[?,3]"), (None, "of any shape")],
)
def test_shapes_read_well(shape: tuple[Dim, ...] | None, text: str) -> None:
    assert shape_text(shape) == text
    assert str(TensorSpec("x", "float32", shape)) == f"float32 {text}"


def test_a_sequence_reads_as_a_list() -> None:
    assert str(TensorSpec("x", "int64", None, is_sequence=True)) == "a list of int64 of any shape"


def test_inputs_are_found_by_name() -> None:
    needed, optional = TensorSpec("x", "float32", ()), TensorSpec("k", "int64", ())
    signature = Signature((needed,), (TensorSpec("y", "float32", ()),), (optional,))
    assert signature.input("x") is needed
    assert signature.input("k") is optional
    assert signature.input("y") is None


@pytest.mark.parametrize(
    ("shape", "received"),
    [(("N", 64), (1, 64)), (("N", 64), (0, 64)), ((None,), (7,)), ((), ()), (None, (1, 2, 3))],
)
def test_arrays_that_fit_pass(shape: tuple[Dim, ...] | None, received: tuple[int, ...]) -> None:
    check_shape(TensorSpec("x", "float32", shape), np.zeros(received, np.float32))


@pytest.mark.parametrize(
    ("received", "text"),
    [((1, 63), "[1,63]"), ((64,), "[64]"), ((1, 1, 64), "[1,1,64]"), ((), "[]")],
)
def test_a_misfit_names_what_is_expected_and_what_came(
    received: tuple[int, ...], text: str
) -> None:
    with pytest.raises(InputError) as caught:
        check_shape(TensorSpec("x", "float32", ("N", 64)), np.zeros(received, np.float32))
    assert str(caught.value) == f"input 'x' expects float32 [N,64], got shape {text}"
