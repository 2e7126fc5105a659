"""Which replicas there shall be, and the way there."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from registry.deployments import Deployment, Revision, RevisionSettings, ServiceSettings, Share
from runtime.deployments.course import Course
from runtime.deployments.fleet import (
    Drain,
    Remove,
    Seen,
    Start,
    State,
    ready_of,
    serving,
    steps,
    wanted_replicas,
)


def deployment(*traffic: Share, goal: int = 1) -> Deployment:
    revisions = tuple(
        Revision(number, f"m:{number}", "sha256:0", RevisionSettings(), "", "")
        for number in (1, 2, 3)
    )
    return Deployment(
        "web", "local", ServiceSettings(), goal, True, 1, "", revisions, traffic, (), None
    )


def seen(id: str, revision: int = 1, state: State = "ready", started_s: float = 0.0) -> Seen:
    return Seen(id, revision, state, started_s)


def test_the_first_revision_and_a_live_one_get_all_replicas() -> None:
    assert wanted_replicas(deployment(), None, 3) == {1: 3}
    assert wanted_replicas(deployment(Share(1, 100)), None, 3) == {1: 3}


def test_a_rollout_keeps_the_old_and_adds_what_the_next_step_needs() -> None:
    found = deployment(Share(1, 100), goal=2)
    preparing = Course(2, ((1, 100.0),))
    assert wanted_replicas(found, preparing, 10) == {1: 10, 2: 1}
    for step, needed in enumerate((1, 3, 10)):  # for 5, 25 and 100 %
        shifting = replace_phase(preparing, step)
        assert wanted_replicas(found, shifting, 10) == {1: 10, 2: needed}


def replace_phase(course: Course, step: int) -> Course:
    return Course(course.new, course.before, "shifting", step)


def test_after_the_end_only_what_has_traffic_stays() -> None:
    finished = Course(2, ((1, 100.0),), "finished")
    assert wanted_replicas(deployment(Share(2, 100), goal=2), finished, 3) == {2: 3}
    back = Course(2, ((1, 100.0),), "taken back")
    assert wanted_replicas(deployment(Share(1, 100), goal=2), back, 3) == {1: 3}


def test_a_canary_and_a_shadow_have_replicas_for_their_share() -> None:
    found = deployment(Share(1, 90), Share(2, 10), Share(3, 50, True))
    assert wanted_replicas(found, None, 4) == {1: 4, 2: 1, 3: 2}


def test_on_a_board_there_is_no_room_for_a_shadow() -> None:
    found = deployment(Share(2, 100), Share(1, 50, True), goal=2)
    assert wanted_replicas(found, None, 1, is_exclusive=True) == {2: 1}
    finished = Course(2, ((1, 100.0),), "finished")
    assert wanted_replicas(found, finished, 1, is_exclusive=True) == {2: 1}


def test_a_shadow_serves_nobody() -> None:
    found = deployment(Share(1, 100), Share(2, 50, True))
    both = [seen("a"), replace(seen("b"), revision=2)]
    assert [each.id for each in serving(found, both)] == ["a"]
    assert serving(deployment(Share(1, 100)), both) == both


def test_no_replica_where_nothing_is_wanted_or_scaled_to_zero() -> None:
    assert wanted_replicas(replace(deployment(Share(1, 100)), is_wanted=False), None, 3) == {}
    assert wanted_replicas(deployment(Share(1, 100)), None, 0) == {}


def test_a_rollout_at_scale_zero_still_tries_the_new_one() -> None:
    found = deployment(Share(1, 100), goal=2)
    assert wanted_replicas(found, Course(2, ((1, 100.0),)), 0)[2] == 1


def test_missing_ones_are_started_and_surplus_ones_go_gently() -> None:
    assert list(steps({1: 2}, [seen("a")])) == [Start(1)]
    some = [seen("a", started_s=1), seen("b", started_s=2), seen("c", state="starting")]
    assert list(steps({1: 1}, some)) == [Remove("c"), Drain("b")]
    assert list(steps({}, [seen("a")])) == [Drain("a")]


def test_what_ended_for_good_is_removed_and_replaced() -> None:
    dead = [seen("a", state="ended"), seen("b", state="unhealthy")]
    assert list(steps({1: 2}, dead)) == [Remove("a"), Remove("b"), Start(1), Start(1)]


def test_on_a_board_the_new_one_waits_until_the_old_one_is_gone() -> None:
    found, course = deployment(Share(1, 100), goal=2), Course(2, ((1, 100.0),))
    wanted = wanted_replicas(found, course, 3, is_exclusive=True)
    assert wanted == {2: 1}
    assert list(steps(wanted, [seen("a")], is_exclusive=True)) == [Drain("a")]
    assert list(steps(wanted, [seen("a", state="draining")], is_exclusive=True)) == []
    assert list(steps(wanted, [], is_exclusive=True)) == [Start(2)]
    back = Course(2, ((1, 100.0),), "taken back")
    assert wanted_replicas(found, back, 3, is_exclusive=True) == {1: 1}


def test_one_that_drains_is_left_alone_and_does_not_count() -> None:
    assert list(steps({1: 1}, [seen("a", state="draining")])) == [Start(1)]


def test_only_those_that_answer_are_ready() -> None:
    assert ready_of(1, [seen("a"), seen("b", state="starting"), seen("c", 2)]) == 1


@given(
    st.dictionaries(st.integers(1, 3), st.integers(0, 4)),
    st.lists(
        st.tuples(
            st.integers(1, 3),
            st.sampled_from(["starting", "ready", "unhealthy", "draining", "ended"]),
        ),
        max_size=12,
    ),
)
def test_doing_what_it_says_leads_there_and_then_it_says_nothing(
    wanted: dict[int, int], found: list[tuple[int, State]]
) -> None:
    now = [seen(f"r{n}", revision, state, n) for n, (revision, state) in enumerate(found)]
    for round in range(2):
        for number, step in enumerate(steps(wanted, now)):
            if isinstance(step, Start):
                now = [*now, seen(f"n{round}-{number}", step.revision, "ready")]
            else:
                now = [each for each in now if each.id != step.id]
    for revision in (1, 2, 3):
        assert ready_of(revision, now) + sum(
            each.revision == revision and each.state == "starting" for each in now
        ) == wanted.get(revision, 0)
    assert list(steps(wanted, now)) == []
