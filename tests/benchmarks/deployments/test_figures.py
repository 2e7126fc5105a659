"""Figures out of what became of requests."""

from __future__ import annotations

import math

import pytest

from benchmarks.deployments.figures import (
    capacity_s,
    exposure,
    failures,
    quantile_ms,
    said,
    trouble,
    within,
)
from benchmarks.deployments.scaling import instant_ideal
from benchmarks.deployments.traffic import CUT, RIGHT, Done


def done(due_s: float, took_s: float = 0.01, fate: str = RIGHT, revision: int = 1) -> Done:
    return Done(due_s, due_s, due_s + took_s, fate, revision)


STEADY = [done(number / 10) for number in range(100)]


def test_nothing_failed_where_all_were_right() -> None:
    assert failures(STEADY) == {}
    assert said(failures(STEADY)) == "0"
    assert quantile_ms(STEADY, 0.99) == pytest.approx(10)
    assert quantile_ms([], 0.5) is None


def test_requests_belong_to_the_span_in_which_they_were_due() -> None:
    assert len(within(STEADY, [(1.0, 2.0), (5.0, 5.5)])) == 15


def test_trouble_lasts_until_the_last_request_that_came_to_harm() -> None:
    harmed = [done(2.95, 0.06, CUT), done(3.2, 1.0), done(3.4, 0.01, "status 502")]
    found = trouble([*STEADY, *harmed], 3.0, 8.0)
    assert found.failed == {CUT: 1, "status 502": 1}
    assert found.slow == 1
    assert found.lasted_s == pytest.approx(0.4)
    assert found.longest_s == pytest.approx(1.0)


def test_what_the_next_event_harmed_is_not_this_one_s() -> None:
    harmed = [done(7.98, 0.05, CUT)]
    assert trouble([*STEADY, *harmed], 3.0, 8.0).failed == {}
    assert trouble([*STEADY, *harmed], 8.0, 9.0).failed == {CUT: 1}


def test_exposure_counts_what_came_to_harm_of_all_while_a_release_was_tried() -> None:
    bad = [done(4.0, revision=2), done(4.1, fate="status 500", revision=0), done(9.9, fate=CUT)]
    found = exposure([*STEADY, *bad], (2.0, 5.0), 4.0, 2, is_slow=False)
    assert (found.requests, found.shifting) == (32, 12)
    assert (found.answered, found.harmed) == (2, 1)
    assert found.share == pytest.approx(1 / 32)
    slow = exposure([*STEADY, *bad], (2.0, 5.0), 4.0, 2, is_slow=True)
    assert slow.harmed == 2
    never = exposure(STEADY, (2.0, 5.0), None, 2, is_slow=False)
    assert (never.shifting, never.shifting_share) == (0, 0.0)


def test_there_is_capacity_once_nobody_is_late_for_a_while() -> None:
    late = [done(3.0 + number / 10, 2.0) for number in range(15)]
    assert capacity_s([*STEADY, *late], 3.0, 1.0, 3.0) == pytest.approx(1.4)
    assert capacity_s(STEADY, 3.0, 1.0, 3.0) == 0.0
    always = [done(number / 10, 2.0) for number in range(100)]
    assert capacity_s(always, 3.0, 1.0, 3.0) == math.inf


def test_an_ideal_misses_what_nobody_could_answer_in_time() -> None:
    assert instant_ideal(160, 50, 4, 0.0, 40) == 0
    assert instant_ideal(40, 50, 4, 10.0, 40) == 0
    # In 4 s 640 come and 200 are answered; those of the last second may wait for the others.
    assert 270 <= instant_ideal(160, 50, 4, 4.0, 40) <= 300
