"""The waits between attempts to connect."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from edge.link.backoff import MIN_UPTIME_S, Backoff


def last() -> float:
    """The longest that may be drawn."""
    return 1.0


def test_the_bound_doubles_up_to_its_cap() -> None:
    backoff, bounds = Backoff(1.0, 120.0), []
    for _ in range(9):
        backoff = backoff.failed()
        bounds.append(backoff.wait_s(last))
    assert bounds == [2, 4, 8, 16, 32, 64, 120, 120, 120]


@given(st.integers(0, 10_000), st.floats(0, 1, exclude_max=True))
def test_a_wait_is_within_its_bounds_after_any_number_of_failures(
    failures: int, drawn: float
) -> None:
    assert 0 <= Backoff(1.0, 120.0, failures).wait_s(lambda: drawn) <= 120


def test_waits_are_drawn_over_the_whole_span() -> None:
    draw = random.Random(7).random
    waits = sorted(Backoff(1.0, 120.0, 20).wait_s(draw) for _ in range(1_000))
    assert waits[0] < 2
    assert waits[-1] > 118
    assert 55 < waits[500] < 65


def test_a_connection_that_held_begins_anew_with_a_wide_span() -> None:
    backoff = Backoff(1.0, 120.0, 5).lost(MIN_UPTIME_S)
    assert backoff.failures == 0
    assert backoff.wait_s(last) == 10
    assert backoff.failed().wait_s(last) == 20  # who finds the broker away stays apart
    assert backoff.failed().failed().failed().failed().wait_s(last) == 120


def test_a_connection_that_did_not_hold_is_a_failure() -> None:
    assert Backoff(1.0, 120.0, 5).lost(MIN_UPTIME_S - 0.1).failures == 6


def test_a_herd_that_loses_its_broker_does_not_come_back_at_once() -> None:
    draw = random.Random(7).random
    waits = [Backoff().lost(1e6).wait_s(draw) for _ in range(2_000)]
    in_each_second = [sum(second <= wait < second + 1 for wait in waits) for second in range(10)]
    assert max(in_each_second) < 260
