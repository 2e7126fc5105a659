from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks.autoscale import load, study
from benchmarks.autoscale.load import DAY_S
from benchmarks.autoscale.recorded import BadRecordError, parse, recorded


@pytest.mark.parametrize("name", [*study.KINDS])
def test_a_kind_of_load_is_the_same_each_time_and_another_with_another_seed(name: str) -> None:
    first, setting = study.generated(name)
    assert np.array_equal(first.arrivals, study.generated(name)[0].arrivals)
    assert not np.array_equal(first.arrivals, study.generated(name, seed=7)[0].arrivals)
    assert len(first.arrivals) == DAY_S
    replicas = first.arrivals.mean() / setting.service.rate_rps
    assert 0.2 * setting.mean < replicas < 3.0 * setting.mean


def test_the_step_is_tenfold_where_it_is_said_to_be() -> None:
    step, _ = study.generated("10x step")
    at_s = step.step_at_s
    assert at_s is not None
    before, after = step.arrivals[at_s - 60 : at_s].mean(), step.arrivals[at_s : at_s + 60].mean()
    assert after / before == pytest.approx(10.0, rel=0.05)


def test_slow_noise_has_the_deviation_that_was_asked_for() -> None:
    noise = load.wandering(200_000, np.random.default_rng(1), noise=0.03)
    assert noise.std() == pytest.approx(0.03, rel=0.2)


def test_a_record_of_two_columns_is_read(tmp_path: Path) -> None:
    path = tmp_path / "monday.csv"
    path.write_text("second,requests\n1700000000,3\n1700000002,5\n\n1700000002,1\n")
    found = recorded(path)
    assert (found.name, found.arrivals.tolist()) == ("monday", [3, 0, 6])


def test_a_record_of_one_column_is_read() -> None:
    assert parse(["requests\n", "1\n", "2\n", "0\n"], "x").arrivals.tolist() == [1, 2, 0]


@pytest.mark.parametrize(
    "lines",
    [
        [],
        ["second,requests\n"],
        ["1\n", "two\n"],
        ["1\n", "-1\n"],
        ["1\n", "nan\n"],
        ["1\n", "1e999\n"],
        ["1\n", "1e300\n"],
        ["0,1\n", "nan,1\n"],
        ["0,1\n", "1e999,1\n"],
        ["0,1\n", "99999999999,1\n"],
        ["10,1\n", "9,1\n"],
        ["1,2,3\n"],
        ["1\n", "2\x00\n"],
        ['1\n"' + "x" * 200_000],
    ],
)
def test_what_is_no_record_is_refused(lines: list[str]) -> None:
    with pytest.raises(BadRecordError):
        parse(lines, "x")
