"""Prometheus text, also of those who mean harm, to a few numbers."""

from __future__ import annotations

import json
import math
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.telemetry.exposition import MAX_SERIES, changes, parse

TEXT = """\
# HELP requests_total What was asked.
# TYPE requests_total counter
requests_total{path="/score",code="200"} 12
requests_total{path="/a b",code="500"} 1 1700000000000
# TYPE busy gauge
busy 3.5
# TYPE took histogram
took_bucket{le="0.1"} 5
took_bucket{le="+Inf"} 6
took_sum 0.7
took_count 6
took_created 1.7e9
odd NaN
odder +Inf
untyped{a="}"} -2e3
"""


def test_numbers_by_series_and_which_are_counters() -> None:
    values, counters = parse(TEXT)
    assert values == {
        'requests_total{path="/score",code="200"}': 12,
        'requests_total{path="/a b",code="500"}': 1,
        "busy": 3.5,
        "took_sum": 0.7,
        "took_count": 6,
        'untyped{a="}"}': -2000,
    }
    assert counters == {series for series in values if series[0] in "rt"}


def test_open_metrics_counters_have_a_base_name() -> None:
    values, counters = parse("# TYPE asked counter\nasked_total 4\n# EOF\n")
    assert values == {"asked_total": 4}
    assert counters == {"asked_total"}


@pytest.mark.parametrize(
    "line",
    [
        "",
        "a",
        "a b c d",
        "{} 1",
        "1a 2",
        "a{ 1",
        'a{b="c" 1',
        "a 1 x",
        "a\x00 1",
        "a  ",
        "# TYPE",
        "é 1",
    ],
)
def test_lines_that_are_none_are_passed_over(line: str) -> None:
    assert parse(f"x 1\n{line}\ny 2\n")[0] == {"x": 1, "y": 2}


def test_what_is_sent_is_what_changed() -> None:
    counters = frozenset({"c"})
    assert changes({"c": 5, "g": 1}, counters, {"c": 5, "g": 1}) == {}
    assert changes({"c": 9, "g": 0}, counters, {"c": 5, "g": 1}) == {"c": 4, "g": 0}
    assert changes({"c": 2}, counters, {"c": 5}) == {"c": 2}  # it was started again
    assert changes({"c": 3, "new": 1}, counters, {}) == {"c": 3, "new": 1}


def test_what_counted_before_anyone_looked_is_not_sent_a_second_time() -> None:
    assert changes({"c": 1000, "g": 1}, frozenset({"c"}), None) == {"g": 1}


@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=20))
def test_growth_adds_up(values: list[float]) -> None:
    counters, before, total, expected = frozenset({"c"}), {"c": 0.0}, 0.0, 0.0
    for value in values:
        now = {"c": value}
        total += changes(now, counters, before).get("c", 0.0)
        expected += value - before["c"] if value >= before["c"] else value
        before = now
    assert math.isclose(total, expected, abs_tol=1e-6)


@given(st.text(max_size=300))
def test_any_text_is_taken(text: str) -> None:
    values, counters = parse(text)
    assert counters <= values.keys()
    json.dumps(values, allow_nan=False)


@pytest.mark.parametrize(
    "text",
    [
        "a{" + "} " * 400_000 + "x",
        "a{" + "}" * 900_000,
        "a" * 900_000,
        "a" + " " * 900_000 + "b",
        "a 1" + " 1" * 400_000,
        "a 1 " + "1" * 900_000,
        "a " + "9" * 900_000,
        "\n" * 900_000,
        "# TYPE a counter\n" * 50_000,
    ],
)
def test_hostile_text_costs_little_time(text: str) -> None:
    began = time.thread_time()
    parse(text)
    assert time.thread_time() - began < 5


def test_no_more_series_than_the_bound() -> None:
    many = "".join(f'a{{n="{n}"}} 1\n' for n in range(10_000))
    assert len(parse(many + "b 1\n")[0]) == MAX_SERIES
    assert parse('a{n="' + "x" * 500 + '"} 1\nb 2\n')[0] == {"b": 2}
