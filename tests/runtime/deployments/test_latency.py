"""How slow a revision is, from pages as servers write them and as nobody should."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.deployments.latency import (
    FLOOR_S,
    Latency,
    begun_anew,
    beyond,
    counts_of,
    quantile_s,
    threshold_s,
    with_pages,
)


def page(quick: int, slow: int, route: str = "/score") -> bytes:
    """``quick`` within 0.01 s, ``slow`` within 1 s."""
    whole = quick + slow
    return (
        "# TYPE inferry_request_seconds histogram\n"
        f'inferry_request_seconds_bucket{{le="0.01",route="{route}"}} {quick}.0\n'
        f'inferry_request_seconds_bucket{{le="1.0",route="{route}"}} {whole}.0\n'
        f'inferry_request_seconds_bucket{{le="+Inf",route="{route}"}} {whole}.0\n'
        f'inferry_request_seconds_count{{route="{route}"}} {whole}.0\n'
    ).encode()


def test_only_what_came_since_counts_and_a_new_process_counts_from_zero() -> None:
    latency = with_pages(Latency(), {"a": (1, page(500, 0))})
    assert latency.of(1) == {}
    latency = with_pages(latency, {"a": (1, page(600, 10))})
    assert latency.of(1) == {0.01: 100, 1.0: 110, math.inf: 110}
    latency = with_pages(latency, {"a": (1, page(5, 0))})
    assert latency.of(1)[math.inf] == 115
    latency = with_pages(begun_anew(latency), {"a": (1, page(6, 0)), "b": (2, None)})
    assert latency.of(1, 2) == {0.01: 1, 1.0: 1, math.inf: 1}


def test_a_quantile_is_a_bound_and_needs_a_hundred_answers() -> None:
    counts = counts_of(page(990, 10))
    assert counts is not None
    assert quantile_s(counts, 0.99) == 0.01
    assert quantile_s({0.01: 50, 1.0: 100, math.inf: 100}, 0.99) == 1.0
    assert quantile_s({0.01: 50, 1.0: 100, math.inf: 100}, 0.5) == 0.01
    assert quantile_s({0.01: 99, math.inf: 99}, 0.99) is None
    assert quantile_s({0.01: 10, math.inf: 200}, 0.99) is None


def test_what_is_slow_is_beyond_the_next_bound() -> None:
    counts = {0.01: 90.0, 1.0: 99.0, math.inf: 100.0}
    assert beyond(counts, 0.01) == 10
    assert beyond(counts, 0.02) == 1
    assert beyond(counts, 2.0) == 0
    assert beyond({}, 1.0) == 0
    assert threshold_s({0.001: 1000, math.inf: 1000}, 2.0) == FLOOR_S
    assert threshold_s({1.0: 1000, math.inf: 1000}, 2.0) == 2.0
    assert threshold_s({0.1: 600, 1.0: 1000, math.inf: 1000}, 2.0, 0.5) == 0.2
    assert threshold_s({}, 2.0) is None


@pytest.mark.parametrize(
    "bad",
    [
        b"",
        b"nonsense\n",
        page(1, 1)[:-1],
        page(1, 1, route="/healthz"),
        page(1, 1).replace(b"1.0\n", b"nan\n"),
        page(1, 1).replace(b"2.0\n", b"-2\n"),
        page(1, 1).replace(b"2.0\n", b"1e999\n"),
        page(5, 1).replace(b"6.0", b"2.0"),
        page(1, 1).replace(b'"0.01"', b'"x"'),
        page(1, 1).replace(b'"0.01"', b'"nan"'),
        b"inferry_request_seconds_bucket\n",
        b"\xff" + page(1, 1),
    ],
)
def test_what_is_no_page_says_nothing(bad: bytes) -> None:
    assert counts_of(bad) is None


@given(st.binary(max_size=300))
def test_no_bytes_are_a_traceback(data: bytes) -> None:
    counts_of(b"inferry_request_seconds_bucket" + data + b"\n")
