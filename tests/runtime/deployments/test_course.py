"""Rollouts: step by step to the end, or back."""

from __future__ import annotations

import math

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry.deployments import Rollout, Share
from runtime.deployments.course import (
    LONGEST,
    MAX_TICK_S,
    Course,
    Readiness,
    advanced,
    begun,
    percent_next,
    shares,
)
from runtime.deployments.evidence import Answers

RULES = Rollout(steps=(5.0, 25.0, 100.0), step_s=2.0, least_requests=10)
OLD = [Share(1, 100.0)]
READY = Readiness(1, 1)
WELL = Answers(1000)


def tick(
    course: Course, readiness: Readiness = READY, new: Answers = WELL, tick_s: float = 1.0
) -> Course:
    return advanced(course, RULES, 60.0, tick_s, readiness, Answers(1000), new)


def percents(course: Course) -> dict[int, float]:
    return {share.revision: share.percent for share in shares(course, RULES)}


def test_it_goes_through_all_its_steps() -> None:
    course, requests = begun(2, OLD), 0
    seen: list[dict[int, float]] = []
    for _ in range(30):
        requests += 20
        course = tick(course, new=Answers(requests))
        if not seen or seen[-1] != percents(course):
            seen.append(percents(course))
    assert seen == [{1: 95.0, 2: 5.0}, {1: 75.0, 2: 25.0}, {2: 100.0}]
    assert course.phase == "finished"


def test_the_old_one_has_all_until_the_new_one_is_ready() -> None:
    course = tick(begun(2, OLD), Readiness(0, 1))
    assert percents(course) == {1: 100.0}
    assert percents(tick(course)) == {1: 95.0, 2: 5.0}


def test_one_that_never_gets_ready_is_taken_back_in_time() -> None:
    course, ticks = begun(2, OLD), 0
    while not course.is_over:
        course, ticks = tick(course, Readiness(0, 1)), ticks + 1
    assert (course.phase, ticks) == ("taken back", 60)
    assert course.cause == "it was not ready within 60 s"
    assert percents(course) == {1: 100.0}


@pytest.mark.parametrize("step", [0, 1, 2])
def test_failures_take_it_back_at_once_in_every_step(step: int) -> None:
    course = Course(2, ((1, 100.0),), "shifting", step, 0.5, 0)
    course = tick(course, new=Answers(5, 5), tick_s=0.01)
    assert course.phase == "taken back"
    assert "5 of 5 requests failed" in course.cause
    assert percents(course) == {1: 100.0}
    assert tick(course) == course


def test_trouble_with_a_replica_takes_it_back() -> None:
    course = tick(tick(begun(2, OLD)), Readiness(0, 1, "it ended with exit code 1"))
    assert (course.phase, course.cause) == ("taken back", "it ended with exit code 1")


def test_the_first_revision_has_nothing_to_go_back_to_and_says_why_it_waits() -> None:
    course = tick(begun(1, []), Readiness(0, 1, "it ended with exit code 1"))
    assert (course.phase, course.cause) == ("preparing", "it ended with exit code 1")
    assert shares(course, RULES) == ()
    course = tick(course)
    assert course.phase == "finished"
    assert percents(course) == {1: 100.0}


def test_a_step_of_which_too_few_requests_tell_lasts_longer_but_not_for_ever() -> None:
    course, ticks = tick(begun(2, OLD), new=Answers(0)), 0
    while course.step == 0:
        course, ticks = tick(course, new=Answers(1)), ticks + 1
    assert ticks == LONGEST * RULES.step_s


def test_where_nobody_asks_at_all_a_step_is_no_longer_than_it_must() -> None:
    course, ticks = tick(begun(2, OLD), new=Answers(0)), 0
    while course.step == 0:
        course, ticks = tick(course, new=Answers(0)), ticks + 1
    assert ticks == RULES.step_s


def test_more_traffic_waits_for_the_replicas_that_shall_carry_it() -> None:
    course = tick(begun(2, OLD), Readiness(1, 1))
    for _ in range(5):
        course = tick(course, Readiness(1, 4), Answers(10_000))
    assert course.step == 0
    assert percent_next(course, RULES) == 25.0
    assert tick(course, Readiness(4, 4), Answers(20_000)).step == 1


@pytest.mark.parametrize("jump", [1e9, -1e9, math.inf, -math.inf, math.nan])
def test_a_jump_of_the_clock_shortens_no_step(jump: float) -> None:
    course = tick(begun(2, OLD), new=Answers(0))
    course = tick(course, new=Answers(1000), tick_s=jump)
    assert course.elapsed_s <= MAX_TICK_S
    assert course.step == 0


def test_a_split_between_several_stays_in_proportion() -> None:
    course = tick(begun(3, [Share(1, 60.0), Share(2, 40.0), Share(4, 10.0, True)]))
    found = percents(course)
    assert found[1] == pytest.approx(57.0)
    assert found[2] == pytest.approx(38.0)
    assert found[3] == pytest.approx(5.0)


def test_it_can_be_kept_and_goes_on() -> None:
    course = tick(tick(begun(2, OLD)))
    kept = msgspec.json.decode(msgspec.json.encode(course), type=Course)
    assert kept == course


@given(
    st.lists(
        st.tuples(
            st.floats(allow_nan=True),
            st.integers(0, 3),
            st.booleans(),
            st.integers(0, 100),
            st.integers(0, 100),
        ),
        max_size=60,
    ),
    st.lists(st.floats(0.1, 99), max_size=4, unique=True),
)
def test_whatever_comes_the_traffic_is_whole_and_never_steps_back_but_to_the_old_one(
    events: list[tuple[float, int, bool, int, int]], steps: list[float]
) -> None:
    rules = Rollout(steps=(*sorted(steps), 100.0), step_s=1.0, least_requests=5)
    course, last, requests, failed = begun(2, OLD), 0.0, 0, 0
    for tick_s, ready, is_dead, more, bad in events:
        requests, failed = requests + more, failed + min(more, bad // 50)
        trouble = "dead" if is_dead and bad > 90 else None
        course = advanced(
            course,
            rules,
            30.0,
            tick_s,
            Readiness(ready, 1, trouble),
            Answers(1000),
            Answers(requests, failed),
        )
        found = {share.revision: share.percent for share in shares(course, rules)}
        assert sum(found.values()) == pytest.approx(100)
        now = found.get(2, 0.0)
        assert now >= last or (course.phase == "taken back" and now == 0)
        last = now
