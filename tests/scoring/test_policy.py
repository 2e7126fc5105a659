"""The admission and dispatch rules."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from scoring import policy
from scoring.policy import Load, Shed

counts = st.integers(min_value=0, max_value=50)


@given(counts, counts, counts)
def test_dispatch_never_exceeds_the_free_places_or_the_queue(w: int, r: int, s: int) -> None:
    chosen = policy.to_run(Load(w, r, s))
    assert 0 <= chosen <= w
    assert chosen == 0 or r + chosen <= s


@given(counts, st.integers(min_value=1, max_value=50))
def test_no_request_waits_while_a_place_is_free(waiting: int, slots: int) -> None:
    assert policy.to_run(Load(waiting, 0, slots)) == min(waiting, slots)


def test_a_full_queue_sheds_with_the_time_it_needs() -> None:
    load = Load(waiting=10, running=2, slots=2, cost_s=0.5)
    assert policy.admit(load, queue_limit=10) == Shed(retry_after_s=3.0)
    assert policy.admit(load, queue_limit=11) is None


def test_the_drain_estimate_stands_without_any_live_place() -> None:
    assert policy.drain_s(Load(4, 0, 0)) == 4 * policy.ASSUMED_COST_S


def test_the_running_mean_starts_at_the_first_observation_and_follows() -> None:
    assert policy.observe(None, 2.0) == 2.0
    assert 1.0 < policy.observe(1.0, 2.0) < 2.0
