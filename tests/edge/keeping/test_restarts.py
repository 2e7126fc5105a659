"""The policy of restarts."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.keeping.restarts import (
    End,
    Restarts,
    after_end,
    after_health,
    after_start,
    end,
    is_wanted,
    wait_s,
)
from edge.messages.desired import Restart, RestartPolicy

RESTARTS = st.builds(
    Restart,
    backoff_s=st.floats(0, 1e4),
    max_backoff_s=st.floats(0, 1e5),
    reset_after_s=st.floats(0, 1e5),
)


@pytest.mark.parametrize(
    ("policy", "wanted"),
    [
        ("never", {"lost"}),
        ("on-failure", {"lost", "failed"}),
        ("on-unhealthy", {"lost", "failed", "unhealthy"}),
        ("always", {"lost", "failed", "unhealthy", "done"}),
    ],
)
def test_a_policy_restarts_after_these_ends(policy: RestartPolicy, wanted: set[End]) -> None:
    ends: tuple[End, ...] = ("done", "failed", "unhealthy", "lost")
    assert {each for each in ends if is_wanted(policy, each)} == wanted


def test_ends_are_told_apart_by_their_code() -> None:
    assert [end(0), end(1), end(137), end(None)] == ["done", "failed", "failed", "lost"]


def test_the_first_restart_is_at_once_and_then_the_wait_doubles() -> None:
    restart = Restart(backoff_s=1, max_backoff_s=10)
    assert [wait_s(restart, n) for n in range(7)] == [0, 1, 2, 4, 8, 10, 10]


@given(RESTARTS, st.integers(0, 100_000))
def test_waits_grow_and_are_bounded(restart: Restart, n: int) -> None:
    assert 0 <= wait_s(restart, n) <= wait_s(restart, n + 1) <= restart.max_backoff_s


@given(RESTARTS, st.integers(0, 50), st.floats(0, 1e6), st.floats(0, 1e6))
def test_what_is_due_stays_due(restart: Restart, n: int, now: float, later: float) -> None:
    state = after_end(Restarts(in_a_row=n), restart, now)
    assert state.due == now + wait_s(restart, n)
    assert after_end(state, restart, now + later) == state
    started = after_start(state)
    assert (started.count, started.due, started.in_a_row) == (1, None, n + 1)


def test_one_that_cannot_be_started_waits_also_the_first_time() -> None:
    restart = Restart(backoff_s=3)
    assert after_end(Restarts(), restart, 10, is_first_free=False).due == 13


@given(RESTARTS, st.integers(0, 50), st.floats(0, 1e6))
def test_health_for_long_enough_starts_the_waits_anew(
    restart: Restart, n: int, healthy_s: float
) -> None:
    state = Restarts(in_a_row=n, count=n)
    found = after_health(state, restart, healthy_s)
    is_long = healthy_s >= restart.reset_after_s
    assert found == (replace(state, in_a_row=0) if is_long else state)
