"""The comparison of a million values, in short; and what it is made of."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.fpga.million import SAMPLES, compare, drawn
from benchmarks.fpga.networks import CASES

pytestmark = pytest.mark.slow


def test_all_networks_together_are_a_million_values() -> None:
    assert sorted(SAMPLES) == sorted(case.name for case in CASES)
    assert 10 * sum(SAMPLES.values()) >= 1_000_000  # ten values a sample; the table counts them


def test_inputs_are_drawn_anew_from_real_ones_and_some_saturate() -> None:
    real = np.random.default_rng(0).uniform(0, 1, (20, 4)).astype(np.float32)
    rows = np.concatenate(list(drawn(real, 600)))
    assert rows.shape == (600, 4)
    assert len(np.unique(rows, axis=0)) == 600
    assert rows.max() > 2 * real.max()


def test_a_network_on_the_board_is_compared_value_by_value() -> None:
    found = compare(CASES[0], 300)
    assert (found.values, found.from_graph, found.from_onnxruntime) == (3000, 0, 0)
    assert found.distinct > 200
