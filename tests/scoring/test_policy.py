"""The rules of admission and of batch sizes."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scoring import policy
from scoring.cost import UNKNOWN_S, CostModel
from scoring.policy import DEFAULT_MAX_BATCH, PROBE_EVERY, Load, Refusal, admit, drain_s

counts = st.integers(0, 200)
seconds = st.floats(0, 10)


def _cost(a: float, b: float) -> CostModel:
    cost = CostModel(pays=True)
    for rows in (1, 2, 4, 8, 16, 32) * 3:
        cost.observe(rows, a * rows + b)
    return cost


def _load(cost: CostModel, waiting: int = 0, **options: Any) -> Load:
    return Load(
        **{
            "waiting": waiting,
            "waiting_rows": waiting,
            "running": 0,
            "slots": 1,
            "cost": cost,
            **options,
        }
    )


FLAT = _cost(0.0, 1.0)
LINEAR = _cost(1.0, 0.0)
DIGITS = _cost(1e-6, 15e-6)


def test_the_drain_time_counts_batches_where_they_are_merged() -> None:
    assert drain_s(_load(FLAT, 100)) == pytest.approx(100)
    assert drain_s(_load(FLAT, 100, merges=True, max_batch=10)) == pytest.approx(10)
    assert drain_s(_load(FLAT, 3, waiting_rows=300, merges=True, max_batch=10)) == pytest.approx(3)
    assert drain_s(_load(LINEAR, 100, merges=True, max_batch=10)) == pytest.approx(100)


def test_the_drain_time_knows_that_batches_on_the_loop_are_smaller() -> None:
    cost = _cost(0.1e-3, 0.5e-3)
    on_loop = _load(cost, 64, merges=True, max_batch=64, inline_s=2e-3)
    assert drain_s(on_loop) == pytest.approx(64 * 0.1e-3 + 5 * 0.5e-3, rel=0.01)


def test_a_batch_that_is_much_cheaper_whole_runs_on_the_thread() -> None:
    cost = _cost(0.1e-3, 1.8e-3)  # two rows on the loop: 1 ms a row; 64 on the thread: 0.13 ms
    assert _limit(cost, inline_s=2e-3) == 64
    assert drain_s(_load(cost, 64, merges=True, max_batch=64, inline_s=2e-3)) == pytest.approx(
        64 * 0.1e-3 + 1.8e-3, rel=0.01
    )


def test_the_drain_time_has_what_runs_and_is_shared_by_the_slots() -> None:
    assert drain_s(_load(FLAT, 0, running=1, running_s=0.5)) == 0.5
    assert drain_s(_load(FLAT, 4, slots=2, running=2, running_s=1.0)) == pytest.approx(2.5)
    assert drain_s(_load(FLAT, 2, slots=0)) == pytest.approx(2), "nothing lives: as if one did"


def test_before_the_first_measurement_the_drain_time_is_a_guess() -> None:
    assert drain_s(_load(CostModel(), 3)) == pytest.approx(3 * UNKNOWN_S)


def test_a_full_queue_refuses_with_the_time_it_needs() -> None:
    load = _load(FLAT, 10, slots=2)
    assert admit(load, rows=1, queue_limit=11, left_s=None) is None
    assert admit(load, rows=1, queue_limit=10, left_s=None) == Refusal("full", drain_s(load))
    assert drain_s(load) == pytest.approx(5)


def test_a_deadline_that_cannot_be_met_is_refused_with_what_is_missing() -> None:
    load = _load(FLAT, 2)
    assert admit(load, rows=1, queue_limit=10, left_s=3.1) is None
    refused = admit(load, rows=1, queue_limit=10, left_s=1.0)
    assert refused is not None
    assert refused.reason == "deadline"
    assert refused.retry_after_s == pytest.approx(2.0)


def test_its_own_rows_count() -> None:
    load = _load(LINEAR)
    assert admit(load, rows=2, queue_limit=10, left_s=3.0) is None
    assert admit(load, rows=5, queue_limit=10, left_s=3.0) is not None


def test_a_deadline_that_has_passed_is_refused_even_before_the_first_measurement() -> None:
    assert admit(_load(CostModel()), rows=1, queue_limit=10, left_s=0.001) is None
    assert admit(_load(CostModel()), rows=1, queue_limit=10, left_s=-0.001) is not None


def test_a_stopping_server_says_when_it_will_be_gone() -> None:
    load = _load(FLAT, 2)
    assert admit(load, rows=1, queue_limit=10, left_s=None, drain_left_s=3.1) is None
    assert admit(load, rows=1, queue_limit=10, left_s=9.0, drain_left_s=2.0) == Refusal(
        "draining", 2.0
    )


@given(counts, counts, st.integers(0, 4), st.integers(1, 50), seconds, seconds, st.booleans())
def test_a_refusal_says_how_much_longer_a_deadline_would_do(
    waiting: int, limit: int, slots: int, rows: int, left_s: float, running_s: float, merges: bool
) -> None:
    load = _load(DIGITS, waiting, slots=slots, running_s=running_s, merges=merges)
    refused = admit(load, rows=rows, queue_limit=limit + 1, left_s=left_s)
    if refused is None:
        return
    assert 0 <= refused.retry_after_s < 1000
    if refused.reason == "deadline":
        enough = left_s + refused.retry_after_s + 1e-9
        assert admit(load, rows=rows, queue_limit=limit + 1, left_s=enough) is None


def _limit(cost: CostModel, **options: Any) -> int:
    return policy.rows_limit(
        cost, **{"merges": True, "max_batch": 64, "inline_s": None, "batches": 1, **options}
    )


def test_batches_grow_to_the_limit_where_merging_pays() -> None:
    assert _limit(DIGITS) == 64
    assert _limit(DIGITS, max_batch=7) == 7
    assert _limit(CostModel()) == 1, "until a trial has shown that it pays"
    assert DEFAULT_MAX_BATCH == 64


def test_nothing_is_merged_where_it_is_not_allowed_or_does_not_pay() -> None:
    assert _limit(DIGITS, merges=False) == 1
    assert _limit(DIGITS, max_batch=1) == 1
    assert _limit(LINEAR) == 1


def test_now_and_then_two_requests_are_merged_to_see_whether_it_pays_by_now() -> None:
    limits = [_limit(LINEAR, batches=number) for number in range(2 * PROBE_EVERY)]
    assert limits.count(2) == 2
    assert limits.count(1) == 2 * PROBE_EVERY - 2
    assert _limit(LINEAR, batches=PROBE_EVERY, rows=5) == 10, "two of whatever rows they have"
    assert _limit(LINEAR, batches=PROBE_EVERY, rows=5, max_batch=8) == 8
    assert _limit(LINEAR, batches=PROBE_EVERY, merges=False) == 1
    assert _limit(LINEAR, batches=PROBE_EVERY, max_batch=1) == 1


def test_what_runs_on_the_loop_stays_within_its_bound() -> None:
    assert _limit(_cost(0.1e-3, 0.5e-3), inline_s=2e-3) in (14, 15)
    assert _limit(_cost(1e-3, 5e-3), inline_s=2e-3) == 64, "too slow for the loop anyway"
    assert _limit(_cost(1e-9, 1e-6), inline_s=2e-3) == 64
    assert _limit(FLAT, inline_s=2e-3) == 64


@given(st.floats(1e-7, 1e-2), st.floats(0, 1e-2), st.integers(1, 100), st.booleans(), counts)
def test_the_limit_is_at_least_one_and_at_most_what_was_asked_for(
    a: float, b: float, max_batch: int, merges: bool, batches: int
) -> None:
    limit = _limit(_cost(a, b), max_batch=max_batch, merges=merges, batches=batches, inline_s=2e-3)
    assert 1 <= limit <= max_batch
    cost = _cost(a, b)
    if cost.pays and 1 < limit < max_batch:
        assert cost.seconds(limit) <= 2e-3 * (1 + 1e-9)
