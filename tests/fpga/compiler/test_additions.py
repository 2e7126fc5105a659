"""Adds: exact where scales are powers of two apart, and how far off where they are not."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from benchmarks.fpga import models
from benchmarks.fpga.oracle import Oracle
from fpga.compiler import reference
from fpga.compiler.accuracy import integers
from fpga.compiler.addition import differing_pairs, factors
from fpga.compiler.compilation import Options, compile_model
from fpga.compiler.graph import Add, Graph, Tensor
from fpga.errors import ModelError
from fpga.isa.shape import SMALL

SCALES = [
    (0.05078125, 0.05078125, 0.1015625),
    (0.75, 0.09375, 0.75),
    (173 / 4096, 173 / 1024, 173 / 2048),
]
ZEROS = [(0, 0, 0), (-128, 3, -128), (127, -128, 6)]


def graph(scales: tuple[float, float, float], zeros: tuple[int, int, int]) -> Graph:
    tensors = {
        name: Tensor(name, (256, 256, 1), scale, zero)
        for name, scale, zero in zip("abc", scales, zeros, strict=True)
    }
    node = Add("add", "a", "b", "c", *factors(*scales))
    return Graph("add", tensors, (node,), "a", "c", "x", "y", ("NCHW", "NCHW"))


def pairs() -> tuple[Any, Any]:
    """Two pictures that hold every pair of int8: the second is the first, turned."""
    values = np.arange(-128, 128).astype(np.int8)
    a = np.broadcast_to(values[:, None], (256, 256)).reshape(1, 256, 256, 1)
    return a, np.ascontiguousarray(a.transpose(0, 2, 1, 3))


PAIRS = pairs()


def summed(made: Graph, zeros: tuple[int, int, int]) -> Any:
    """The engine's Add of every pair."""
    node, (a, b) = made.nodes[0], (each.astype(int) for each in PAIRS)
    assert isinstance(node, Add)
    exact = node.ma * (a - zeros[0]) + node.mb * (b - zeros[1])
    return np.clip(np.rint(exact / 2.0**node.sh) + zeros[2], -128, 127)


@pytest.mark.parametrize("scales", SCALES)
@pytest.mark.parametrize("zeros", ZEROS)
def test_every_pair_is_exact_with_scales_of_few_bits(
    scales: tuple[float, float, float], zeros: tuple[int, int, int]
) -> None:
    assert differing_pairs(scales, zeros, factors(*scales)) == 0


def test_onnxruntime_adds_every_pair_alike() -> None:
    a, turned = PAIRS
    for scales in SCALES:
        for zeros in ZEROS:
            made = graph(scales, zeros)
            theirs = Oracle(made, inputs=("a", "b")).run_all({"a": a, "b": turned})["c"]
            assert (summed(made, zeros) == theirs).all()


def test_an_odd_zero_point_is_where_onnxruntime_differs_from_onnx() -> None:
    # So the compiler makes those of Adds even.
    scales, zeros = SCALES[0], (1, 2, 7)
    assert differing_pairs(scales, zeros, factors(*scales)) == 0
    a, turned = PAIRS
    theirs = Oracle(graph(scales, zeros), inputs=("a", "b")).run_all({"a": a, "b": turned})["c"]
    assert (summed(graph(scales, zeros), zeros) != theirs).sum() == 32_732


def test_zero_points_of_adds_become_even() -> None:
    draw = np.random.default_rng(0)
    net = models.Network("adds", (3, 6, 6))
    first = net.conv("x", draw.normal(0, 1, (4, 3, 3, 3)), draw.normal(1, 1, 4))
    second = net.conv("x", draw.normal(0, 1, (4, 3, 3, 3)), draw.normal(2, 1, 4))
    net.put("Add", first, second)
    rows = draw.normal(0.3, 1, (130, 3, 6, 6)).astype(np.float32)
    compiled = compile_model(net.model(4), rows[:100], Options(shape=SMALL))
    found = compiled.graph
    assert [found.tensors[node.target].zero_point % 2 for node in found.nodes] == [0, 0, 0]
    whole = integers(found, rows[100:])
    assert (
        Oracle(found).run(whole)[found.output] == reference.run(found, whole)[found.output]
    ).all()
    assert compiled.report.proof.pairs_differing == 0


def test_other_scales_differ_in_few_pairs_and_it_is_counted() -> None:
    scales = (0.0471, 0.0333, 0.0911)
    count = differing_pairs(scales, (1, -2, 3), factors(*scales))
    assert count < 10
    ma, mb, sh = factors(*scales)
    assert differing_pairs(scales, (1, -2, 3), (ma + (1 << (sh - 9)), mb, sh)) > 10


def test_a_reference_add_is_the_same_arithmetic() -> None:
    made = graph((0.5, 0.5, 1.0), (0, 0, 0))
    doubled = Graph(**{**{f: getattr(made, f) for f in made.__dataclass_fields__},
                       "nodes": (Add("add", "a", "a", "c", *factors(0.5, 0.5, 1.0)),)})  # fmt: skip
    values = np.zeros((1, 256, 256, 1), np.int8)
    values[0, :, 0, 0] = np.arange(-128, 128)
    assert (reference.run(doubled, values)["c"] == values).all()


def test_scales_too_far_apart_are_refused() -> None:
    with pytest.raises(ModelError, match="scale"):
        factors(1.0, 1.0, 2.0**-30)
    ma, _, sh = factors(1.0, 2.0**-40, 1.0)
    assert ma == 1 << sh
