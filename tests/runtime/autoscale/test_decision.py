from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.autoscale.decision import Cause, decide
from runtime.autoscale.declared import Declared
from runtime.autoscale.history import History, observe, observe_reading
from runtime.autoscale.learned import Learned
from runtime.autoscale.reading import Reading
from runtime.autoscale.sample import Load, Replica, Sample
from tests.runtime.autoscale.scene import KNOWN, RATE_RPS, Scene, enough, steady

DECLARED = Declared(min_replicas=1, max_replicas=40, target_in_flight=1.2, target_queue_s=0.5)
HEADROOM = DECLARED.headroom


def settled(load_rps: float, declared: Declared = DECLARED) -> Scene:
    """A deployment that has had this load for a long while."""
    scene = Scene(declared, wanted=declared.within(enough(load_rps, HEADROOM)))
    scene.seconds(steady(load_rps, 130))
    return scene


def test_a_steady_load_keeps_what_it_needs() -> None:
    scene = settled(100.0)
    assert set(scene.replicas) == {enough(100.0, HEADROOM)}
    assert scene.decisions[-1].cause is Cause.STEADY


def test_a_tenfold_step_is_answered_within_seconds() -> None:
    scene = settled(20.0)
    scene.seconds(steady(200.0, 6))
    assert scene.wanted >= 20


def test_a_step_is_not_answered_with_far_more_than_it_needs() -> None:
    scene = settled(20.0)
    scene.seconds(steady(200.0, 60))
    assert max(scene.replicas) <= 30


def test_replicas_go_after_the_window_and_not_before() -> None:
    scene = settled(100.0)
    before = scene.wanted
    decisions = scene.seconds(steady(40.0, 200))
    first = next(i for i, replicas in enumerate(decisions) if replicas < before)
    assert DECLARED.down_s <= first + 1 <= DECLARED.down_s + 15.0
    assert decisions[-1] == enough(40.0, HEADROOM)


def test_with_a_window_upwards_a_short_rise_changes_nothing() -> None:
    declared = Declared(max_replicas=40, target_in_flight=1.2, up_s=10.0, panic_threshold=3.0)
    scene = settled(100.0, declared)
    before = scene.wanted
    assert set(scene.seconds([*steady(140.0, 5), *steady(80.0, 20)])) == {before}
    assert scene.seconds(steady(140.0, 20))[-1] > before


def test_a_panic_does_not_wait_for_the_window_upwards() -> None:
    declared = Declared(max_replicas=40, target_in_flight=1.2, up_s=300.0)
    scene = settled(100.0, declared)
    decisions = scene.seconds(steady(400.0, 8))
    assert decisions[-1] >= 40
    assert Cause.PANIC in {decision.cause for decision in scene.decisions}


def test_only_so_many_as_are_declared() -> None:
    scene = settled(10_000.0)
    assert scene.wanted == 40
    assert scene.decisions[-1].cause is Cause.DECLARED
    assert "1 to 40 replicas are declared" in scene.decisions[-1].why


def test_what_is_wanted_follows_the_declaration_at_once() -> None:
    history = settled(100.0).history
    less = Declared(max_replicas=3)
    assert decide(less, history, wanted=11, now_s=2000.0).replicas == 3
    more = Declared(min_replicas=20, max_replicas=30)
    assert decide(more, History(), wanted=0, now_s=0.0).replicas == 20


def test_nothing_seen_changes_nothing() -> None:
    decision = decide(DECLARED, History(), wanted=7, now_s=0.0)
    assert (decision.replicas, decision.cause) == (7, Cause.UNKNOWN)


def test_what_was_seen_long_ago_takes_nothing_away() -> None:
    scene = settled(100.0)
    scene.wanted = 30
    scene.now_s += DECLARED.stale_s + 1.0
    decision = scene.decide()
    assert (decision.replicas, decision.cause) == (30, Cause.UNKNOWN)


def test_a_gap_begins_the_window_anew() -> None:
    scene = settled(100.0)
    scene.wanted = 30
    scene.now_s += 1000.0
    decisions = scene.seconds(steady(100.0, 100))
    assert set(decisions[:59]) == {30}
    assert decisions[-1] == enough(100.0, HEADROOM)


def test_one_replica_that_does_not_answer_keeps_all() -> None:
    scene = settled(100.0)
    scene.wanted = 30
    for _ in range(200):
        assert scene.second(100.0, unknown=1).replicas == 30
    assert "1 of 30 ready replicas did not say what they do" in scene.decisions[-1].why
    assert scene.second(100.0).replicas < 30


def test_more_are_added_though_some_do_not_answer() -> None:
    scene = settled(100.0)
    before = scene.wanted
    for _ in range(5):
        scene.second(300.0, unknown=3)
    assert scene.wanted > before


def test_when_none_answers_nothing_changes() -> None:
    scene = settled(100.0)
    before = scene.wanted
    for _ in range(300):
        decision = scene.second(0.0, unknown=1000)
        assert decision.replicas == before
    assert decision.cause is Cause.UNKNOWN


def test_while_the_rate_of_a_replica_is_a_guess_few_go_at_once() -> None:
    guess = History(learned=Learned(rate_rps=100.0, start_s=3.0, starts_seen=1))
    scene = Scene(Declared(max_replicas=40, target_in_flight=1e5), wanted=16, history=guess)
    decisions = scene.seconds(steady(16.0, 92))
    assert sorted(set(decisions), reverse=True) == [16, 12, 9]
    assert decisions.index(9) - decisions.index(12) >= 15


ZERO = Declared(min_replicas=0, max_replicas=5, target_in_flight=1.2, zero_grace_s=300.0)


def test_it_sleeps_when_nobody_has_asked_for_the_grace() -> None:
    scene = Scene(ZERO)
    scene.seconds([5.0])
    decisions = scene.seconds(steady(0.0, 400))
    assert decisions.index(0) == 300
    assert set(decisions[300:]) == {0}


def test_one_request_begins_the_grace_anew() -> None:
    scene = Scene(ZERO)
    scene.seconds([5.0, *steady(0.0, 290), 1.0])
    decisions = scene.seconds(steady(0.0, 400))
    assert decisions.index(0) == 300


def test_it_does_not_sleep_on_what_it_does_not_know() -> None:
    scene = Scene(ZERO)
    for _ in range(1000):
        assert scene.second(0.0, unknown=1).replicas == 1


def test_a_gap_begins_the_grace_anew() -> None:
    scene = Scene(ZERO)
    scene.seconds(steady(0.0, 250))
    scene.now_s += 3600.0
    assert scene.seconds(steady(0.0, 250))[-1] == 1


def test_it_never_sleeps_where_one_is_declared() -> None:
    scene = Scene(DECLARED)
    assert set(scene.seconds(steady(0.0, 1000))) == {1}


def test_held_requests_wake_it() -> None:
    scene = Scene(ZERO)
    scene.seconds(steady(0.0, 320))
    assert scene.wanted == 0
    decision = scene.second(0.0, held=3)
    assert (decision.replicas, decision.cause) == (1, Cause.AWAKE)
    assert "3 requests are held" in decision.why
    assert set(scene.seconds(steady(0.0, 100))) == {1}


def test_it_says_why_in_one_sentence() -> None:
    scene = settled(50.0)
    scene.seconds([*steady(90.0, 10), *steady(5.0, 200)])
    for decision in scene.decisions:
        assert 5 < len(decision.why) < 150
        assert "\n" not in decision.why
        assert "nan" not in decision.why.lower()


def test_asking_twice_gives_the_same_answer() -> None:
    scene = settled(55.0)
    first = decide(DECLARED, scene.history, wanted=9, now_s=scene.now_s)
    assert decide(DECLARED, scene.history, wanted=9, now_s=scene.now_s) == first


# Of any load.

TIMES_TWO = st.sampled_from([1.0, 2.0, 4.0, 8.0])

LOADS = st.lists(st.tuples(st.floats(0.0, 500.0), st.integers(1, 60)), min_size=1, max_size=8)


def replay(declared: Declared, loads: list[tuple[float, int]], unknown: list[bool]) -> Scene:
    scene = Scene(declared, wanted=declared.within(3))
    for index, (load, seconds) in enumerate(loads):
        for _ in range(seconds):
            is_unknown = bool(unknown) and unknown[index % len(unknown)]
            scene.second(load, unknown=1 if is_unknown else 0)
    return scene


@settings(deadline=None, max_examples=40)
@given(LOADS, st.integers(0, 3), st.integers(3, 30), st.lists(st.booleans(), max_size=4))
def test_it_stays_within_what_is_declared(
    loads: list[tuple[float, int]], least: int, most: int, unknown: list[bool]
) -> None:
    declared = Declared(min_replicas=least, max_replicas=most, zero_grace_s=20.0, down_s=10.0)
    scene = replay(declared, loads, unknown)
    assert all(least <= replicas <= most for replicas in scene.replicas)


@settings(deadline=None, max_examples=40)
@given(LOADS, st.floats(0.0, 60.0))
def test_nothing_goes_within_the_window_after_more_came(
    loads: list[tuple[float, int]], down_s: float
) -> None:
    declared = Declared(max_replicas=60, target_in_flight=1.2, down_s=down_s)
    scene = replay(declared, loads, [])
    raised_at: int | None = None
    for second in range(1, len(scene.replicas)):
        if scene.replicas[second] > scene.replicas[second - 1]:
            raised_at = second
        if scene.replicas[second] < scene.replicas[second - 1] and raised_at is not None:
            assert second - raised_at >= down_s - 1e-6


@settings(deadline=None, max_examples=40)
@given(LOADS, TIMES_TWO, st.integers(1, 100), st.floats(0.0, 60.0))
def test_more_load_never_wants_fewer(
    loads: list[tuple[float, int]], factor: float, wanted: int, in_flight: float
) -> None:
    """With the same knowledge of a replica: what more load teaches may lead to fewer. By powers of
    two, which round nothing: whether a trend is one may hang on the last digit."""

    def replicas(times: float) -> int:
        history, now_s = History(learned=KNOWN), 0.0
        for load, seconds in loads:
            for _ in range(seconds):
                now_s += 1.0
                reading = Reading(
                    now_s, 8, in_flight=in_flight * times, arrived_rps=load * times
                )  # answers are not known, so nothing is learned
                history = observe_reading(DECLARED, history, reading, now_s)
        assert history.learned == KNOWN
        return decide(DECLARED, history, wanted=min(wanted, 40), now_s=now_s).replicas

    assert replicas(factor) >= replicas(1.0)


@settings(deadline=None, max_examples=40)
@given(LOADS)
def test_silence_never_takes_a_replica_away(loads: list[tuple[float, int]]) -> None:
    scene = replay(DECLARED, loads, [True])
    assert all(b >= a for a, b in zip(scene.replicas, scene.replicas[1:], strict=False))


TIMES = st.floats() | st.sampled_from([math.nan, math.inf, -math.inf, 0.0, -1e18, 1e18])
NUMBERS = st.floats() | st.sampled_from([math.nan, math.inf, -1.0, 1e999, 0.0, 5.0])


@settings(deadline=None, max_examples=100)
@given(
    st.lists(
        st.tuples(TIMES, TIMES, st.lists(st.tuples(NUMBERS, NUMBERS, NUMBERS), max_size=3)),
        max_size=12,
    ),
    st.integers(-5, 50),
)
def test_no_clock_and_no_number_leads_it_out_of_bounds(
    looks: list[tuple[float, float, list[tuple[float, float, float]]]], wanted: int
) -> None:
    history = History()
    for at_s, now_s, loads in looks:
        replicas = tuple(
            Replica(str(i), at_s - 3.0, at_s - 1.0, Load(a, b, c, c, c))
            for i, (a, b, c) in enumerate(loads)
        )
        history = observe(DECLARED, history, Sample(at_s, replicas), now_s)
        decision = decide(DECLARED, history, wanted=wanted, now_s=now_s)
        assert 1 <= decision.replicas <= 40
        assert "\n" not in decision.why


@pytest.mark.parametrize("jump_s", [-1e9, -3600.0, -70.0, -5.0, 5.0, 70.0, 3600.0, 1e9])
def test_a_clock_that_jumps_takes_nothing_away_and_is_soon_forgotten(jump_s: float) -> None:
    scene = settled(100.0)
    before = scene.wanted
    scene.now_s += jump_s
    decisions = scene.seconds(steady(100.0, 200))
    assert set(decisions) == {before}
    scene.seconds(steady(200.0, 20))
    assert scene.wanted >= 20, "it is not blind after the jump"
    scene.seconds(steady(100.0, 200))
    assert scene.wanted == before
    assert scene.history.learned.start_s == KNOWN.start_s
    assert scene.history.learned.rate_rps == pytest.approx(RATE_RPS, rel=0.1)
