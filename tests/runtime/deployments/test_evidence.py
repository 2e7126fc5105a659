"""A new revision is taken back where its answers prove it worse, and not by chance."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry.deployments import Rollout
from runtime.deployments.evidence import Answers, complaint, least, most

RULES = Rollout(max_error_share=0.01, max_p99_ratio=2.0)


@pytest.mark.parametrize("failed", [3, 4, 50])
def test_one_that_fails_always_is_known_after_three_requests(failed: int) -> None:
    found = complaint(RULES, Answers(1000), Answers(failed, failed))
    assert found == f"{failed} of {failed} requests failed (before it 0 of 1000)"


@pytest.mark.parametrize("new", [Answers(1, 1), Answers(2, 2), Answers(), Answers(10_000, 90)])
def test_one_failure_or_two_or_the_allowed_share_prove_nothing(new: Answers) -> None:
    assert complaint(RULES, Answers(1000), new) is None


def test_what_the_old_one_did_too_is_not_held_against_the_new_one() -> None:
    assert complaint(RULES, Answers(1000, 300), Answers(100, 30)) is None
    assert complaint(RULES, Answers(1000, 300), Answers(100, 90)) is not None


def test_slowness_is_told_by_the_share_beyond_the_old_p99() -> None:
    found = complaint(RULES, Answers(1000), Answers(100, 0, 20))
    assert found is not None
    assert "20 of 100 requests took over 2 times the p99" in found
    assert complaint(RULES, Answers(1000), Answers(1000, 0, 10)) is None


def test_slowness_of_most_answers_is_told_though_a_few_of_the_old_one_were_slow_too() -> None:
    found = complaint(RULES, Answers(1000), Answers(12, slower=12))
    assert found is not None
    assert "12 of 12 requests took over 2 times the median" in found
    for of, slower in ((8, 8), (100, 50), (100, 60), (0, 0)):
        assert complaint(RULES, Answers(1000), Answers(of, slower=slower)) is None


def test_an_equal_revision_is_seldom_taken_back_though_it_is_watched_all_the_time() -> None:
    rng, taken = random.Random(7), 0
    for _ in range(300):
        old, new = Answers(), Answers()
        for _ in range(400):
            old = Answers(old.requests + 9, old.failed + sum(rng.random() < 0.01 for _ in range(9)))
            new = Answers(new.requests + 1, new.failed + (rng.random() < 0.01))
            if complaint(RULES, old, new) is not None:
                taken += 1
                break
    assert taken <= 6  # 2 %


def test_a_clearly_worse_one_is_nearly_always_taken_back() -> None:
    rng, taken = random.Random(8), 0
    for _ in range(100):
        new = Answers()
        for _ in range(400):
            new = Answers(new.requests + 1, new.failed + (rng.random() < 0.10))
            if complaint(RULES, Answers(4000, 4), new) is not None:
                taken += 1
                break
    assert taken >= 98


@given(st.integers(0, 10_000), st.integers(0, 10_000))
def test_bounds_enclose_the_share(hits: int, more: int) -> None:
    of = hits + more
    assert 0 <= least(hits, of) <= 1
    if of:
        assert least(hits, of) <= hits / of + 1e-12
        assert most(hits, of) >= hits / of - 1e-12


@given(st.integers(0, 100), st.integers(1, 100))
def test_more_of_the_same_is_more_sure(hits: int, more: int) -> None:
    assert least(10 * hits, 10 * (hits + more)) >= least(hits, hits + more) - 1e-12


def test_more_failures_than_requests_are_all_of_them() -> None:
    assert complaint(RULES, Answers(1000, 2000), Answers(3, 9)) is None
    assert complaint(RULES, Answers(1000), Answers(3, 9)) is not None
