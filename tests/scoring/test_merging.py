"""Which models may be merged, and which not, and why."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import helper, numpy_helper

from scoring.model_engine import prove
from scoring.onnx_engine import OnnxEngine
from tests.scoring.little_models import FLOAT, INT, axis, make_model, mlp, table, unary


@pytest.mark.parametrize(
    ("make", "kind"),
    [
        (lambda folder: unary(folder, "Relu"), "float"),
        (lambda folder: unary(folder, "Softmax", axis=1), "float"),
        (lambda folder: unary(folder, "CumSum", "one", held=[axis(1)]), "float"),
        (mlp, "mlp"),
        (table, "table"),
    ],
)
def test_what_is_row_by_row_is_merged(
    tmp_path: Path, make: Callable[[Path], OnnxEngine], kind: str
) -> None:
    merging = prove(make(tmp_path))
    assert merging.allowed, merging.reason
    assert merging.reason == "three rows gave the same together and alone"


@pytest.mark.parametrize("kind", [FLOAT, INT], ids=["floats", "integers"])
@pytest.mark.parametrize("width", [1, 3])
@pytest.mark.parametrize(
    "node",
    [
        helper.make_node("CumSum", ["x", "zero"], ["y"]),
        helper.make_node("Sub", ["x", "mean"], ["y"]),
        helper.make_node("Sub", ["x", "most"], ["y"]),
        helper.make_node("Sub", ["x", "first"], ["y"]),
        helper.make_node("Mul", ["x", "count"], ["y"]),
    ],
    ids=["cumulative sum", "less the mean", "less the most", "less the first", "by their number"],
)
def test_what_depends_on_the_other_rows_is_not_merged(
    tmp_path: Path, node: Any, width: int, kind: int
) -> None:
    held = [
        numpy_helper.from_array(np.array(0, np.int64), "zero"),
        numpy_helper.from_array(np.array([0], np.int64), "zeros"),
    ]
    model = make_model(
        tmp_path,
        helper.make_node("ReduceMean", ["x"], ["mean"], axes=[0], keepdims=1),
        helper.make_node("ReduceMax", ["x"], ["most"], axes=[0], keepdims=1),
        helper.make_node("Gather", ["x", "zeros"], ["first"], axis=0),
        helper.make_node("Shape", ["x"], ["shape"]),
        helper.make_node("Gather", ["shape", "zero"], ["number"], axis=0),
        helper.make_node("Cast", ["number"], ["count"], to=kind),
        node,
        inputs={"x": (kind, ["N", width])},
        outputs={"y": (kind, ["N", width])},
        held=held,
    )
    merging = prove(model)
    assert not merging.allowed
    assert merging.reason == "a row's outputs depend on the other rows"


def test_a_softmax_over_the_rows_is_not_merged(tmp_path: Path) -> None:
    merging = prove(unary(tmp_path, "Softmax", axis=0))
    assert merging.reason == "a row's outputs depend on the other rows"


def test_a_mean_over_the_rows_is_not_merged_though_the_model_says_it_has_rows(
    tmp_path: Path,
) -> None:
    merging = prove(unary(tmp_path, "ReduceMean", axes=[0], keepdims=1))
    assert merging.reason == "the first dimension of 'y' is fixed", "onnxruntime knows better"


def test_a_choice_of_rows_is_not_merged(tmp_path: Path) -> None:
    model = make_model(
        tmp_path,
        helper.make_node("Greater", ["x", "zero"], ["positive"]),
        helper.make_node("Compress", ["x", "positive"], ["y"], axis=0),
        inputs={"x": (FLOAT, ["N"])},
        outputs={"y": (FLOAT, ["M"])},
        held=[numpy_helper.from_array(np.array(0, np.float32), "zero")],
    )
    assert prove(model).reason == "an output has not one entry for each row"


def test_a_fixed_first_dimension_is_not_merged(tmp_path: Path) -> None:
    model = make_model(
        tmp_path,
        helper.make_node("Relu", ["x"], ["y"]),
        inputs={"x": (FLOAT, [1, 3])},
        outputs={"y": (FLOAT, [1, 3])},
    )
    assert prove(model).reason == "the first dimension of 'x' is fixed"


def test_what_fails_on_made_up_values_is_not_merged(tmp_path: Path) -> None:
    """A window that is wider than any row that is tried."""
    model = make_model(
        tmp_path,
        helper.make_node("MaxPool", ["x"], ["y"], kernel_shape=[100]),
        inputs={"x": (FLOAT, ["N", 1, "L"])},
        outputs={"y": (FLOAT, ["N", 1, "M"])},
    )
    assert prove(model).reason == "it fails on made-up values, so nothing could be tried"
