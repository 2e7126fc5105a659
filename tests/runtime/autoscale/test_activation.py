from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from runtime.autoscale.activation import (
    Action,
    Activation,
    Arrived,
    Bounds,
    Event,
    Forward,
    Gone,
    Hold,
    Leaving,
    Left,
    Phase,
    Ready,
    Refuse,
    Start,
    StartFailed,
    Tick,
    WrongEventError,
    step,
)

ASLEEP = Activation(bounds=Bounds(most_held=3, most_failures=2, backoff_s=4.0))


def after(activation: Activation, *events: Event, now_s: float = 100.0) -> Activation:
    for event in events:
        activation, _ = step(activation, event, now_s)
    return activation


def arrived(name: str, until_s: float = 130.0) -> Arrived:
    return Arrived(name, until_s)


def test_the_first_request_wakes_it_and_is_held() -> None:
    waking, actions = step(ASLEEP, arrived("a"), 100.0)
    assert actions == (Start(), Hold("a"))
    assert waking.phase is Phase.WAKING


def test_those_that_come_meanwhile_are_held_and_start_nothing_more() -> None:
    waking = after(ASLEEP, arrived("a"))
    assert step(waking, arrived("b"), 100.0)[1] == (Hold("b"),)


def test_they_go_on_in_the_order_in_which_they_came() -> None:
    waking = after(ASLEEP, arrived("a"), arrived("c"), arrived("b"))
    awake, actions = step(waking, Ready(), 105.0)
    assert actions == (Forward(("a", "c", "b")),)
    assert awake.phase is Phase.AWAKE
    assert not awake.held
    assert step(awake, arrived("d"), 106.0)[1] == (Forward(("d",)),)


def test_too_many_are_refused_with_when_to_come_again() -> None:
    waking = after(ASLEEP, arrived("a"), arrived("b"), arrived("c"))
    again, actions = step(waking, arrived("d"), 100.0)
    assert isinstance(actions[0], Refuse)
    assert actions[0].requests == ("d",)
    assert actions[0].retry_after_s == ASLEEP.start_s
    assert again == waking


def test_who_has_left_is_not_held_and_the_start_goes_on() -> None:
    waking = after(ASLEEP, arrived("a"), Left("a"))
    assert not waking.held
    assert step(waking, Ready(), 100.0) == (after(ASLEEP, Ready()), ())


def test_whose_time_is_over_is_refused() -> None:
    waking = after(ASLEEP, arrived("a", 110.0), arrived("b", 120.0))
    later, actions = step(waking, Tick(), 115.0)
    assert isinstance(actions[0], Refuse)
    assert actions[0].requests == ("a",)
    assert [one.request for one in later.held] == ["b"]
    assert step(ASLEEP, arrived("c", 99.0), 100.0)[0] == ASLEEP


def test_a_failed_start_is_tried_again_for_those_that_wait() -> None:
    waking = after(ASLEEP, arrived("a"))
    again, actions = step(waking, StartFailed("no memory"), 101.0)
    assert actions == (Start(),)
    assert [one.request for one in again.held] == ["a"]


def test_after_several_failed_starts_all_are_told_why_and_when() -> None:
    waking = after(ASLEEP, arrived("a"), arrived("b"), StartFailed("no memory"))
    asleep, actions = step(waking, StartFailed("no memory"), 101.0)
    assert actions == (Refuse(("a", "b"), "no replica starts: no memory", 4.0),)
    assert asleep.phase is Phase.ASLEEP
    assert step(asleep, arrived("c"), 102.0)[1] == (
        Refuse(("c",), "no replica starts: no memory", 3.0),
    )
    assert step(asleep, arrived("c"), 105.0)[1] == (Start(), Hold("c"))


def test_each_more_failure_waits_longer_up_to_a_minute() -> None:
    activation, now_s, waits = ASLEEP, 100.0, []
    for _ in range(8):
        activation, _ = step(activation, arrived("a", 1e9), now_s)
        while activation.phase is Phase.WAKING:
            activation, actions = step(activation, StartFailed("x"), now_s)
        assert isinstance(actions[0], Refuse)
        waits.append(actions[0].retry_after_s)
        now_s += waits[-1]
    assert waits == [4.0, 8.0, 16.0, 32.0, 60.0, 60.0, 60.0, 60.0]


def test_a_start_that_works_forgets_the_failures() -> None:
    waking = after(ASLEEP, arrived("a"), StartFailed("x"))
    assert after(waking, Ready()).failures == 0


def test_a_clock_that_went_back_does_not_keep_it_asleep() -> None:
    broken = after(ASLEEP, arrived("a"), StartFailed("x"), StartFailed("x"), now_s=1e6)
    assert step(broken, arrived("b"), 50.0)[1] == (Start(), Hold("b"))


def test_a_request_that_comes_while_the_last_leaves_starts_another() -> None:
    leaving = after(ASLEEP, Ready(), Leaving())
    waking, actions = step(leaving, arrived("a"), 100.0)
    assert actions == (Start(), Hold("a"))
    assert after(waking, Gone()).phase is Phase.WAKING
    assert step(after(waking, Gone()), Ready(), 101.0)[1] == (Forward(("a",)),)


def test_when_the_last_has_gone_it_sleeps() -> None:
    assert after(ASLEEP, Ready(), Leaving(), Gone()).phase is Phase.ASLEEP
    assert after(ASLEEP, Ready(), Gone()).phase is Phase.ASLEEP, "it died"


@pytest.mark.parametrize("events", [(), (arrived("a"),), (Ready(), Leaving())])
def test_none_can_leave_that_is_not_there_and_nothing_changes(events: tuple[Event, ...]) -> None:
    activation = after(ASLEEP, *events)
    with pytest.raises(WrongEventError, match=activation.phase.value):
        step(activation, Leaving(), 100.0)


@pytest.mark.parametrize("phase", list(Phase))
@pytest.mark.parametrize(
    "event", [arrived("a"), Left("a"), Ready(), StartFailed("x"), Gone(), Tick()]
)
def test_every_other_event_may_happen_in_every_phase(phase: Phase, event: Event) -> None:
    step(Activation(phase), event, 100.0)


@given(st.floats(), st.floats())
def test_no_time_raises(until_s: float, now_s: float) -> None:
    activation = after(ASLEEP, Arrived("a", until_s), Tick(), StartFailed("x"), now_s=now_s)
    after(activation, StartFailed("x"), Arrived("b", until_s), now_s=now_s)


class AnyOrder(RuleBasedStateMachine):
    """Whatever happens in whatever order: each request has one fate, and none is forgotten."""

    def __init__(self) -> None:
        super().__init__()
        self.activation = ASLEEP
        self.now_s = 0.0
        self.count = 0
        self.open: list[str] = []
        self.starts_under_way = 0

    def do(self, event: Event) -> None:
        try:
            self.activation, actions = step(self.activation, event, self.now_s)
        except WrongEventError:
            return
        for action in actions:
            self.act(action)

    def act(self, action: Action) -> None:
        if isinstance(action, Hold):
            assert self.open[-1] == action.request
        elif isinstance(action, Start):
            self.starts_under_way += 1
        else:
            expected = [one for one in self.open if one in action.requests]
            assert list(action.requests) == expected, "unknown, twice, or out of order"
            self.open = [one for one in self.open if one not in action.requests]

    @rule(time_s=st.floats(0.0, 20.0))
    def arrive(self, time_s: float) -> None:
        self.count += 1
        self.open.append(f"r{self.count}")
        self.do(Arrived(self.open[-1], self.now_s + time_s))

    @rule(seconds=st.floats(0.0, 30.0))
    def pass_time(self, seconds: float) -> None:
        self.now_s += seconds
        self.do(Tick())
        assert all(one.until_s > self.now_s for one in self.activation.held)

    @rule(which=st.integers(0, 5))
    def leave(self, which: int) -> None:
        if which < len(self.open):
            self.do(Left(self.open.pop(which)))

    @rule(event=st.sampled_from([Ready(), Leaving(), Gone()]))
    def happen(self, event: Event) -> None:
        self.do(event)

    @rule()
    def fail(self) -> None:
        if self.starts_under_way:
            self.starts_under_way -= 1
            self.do(StartFailed("no memory"))

    @invariant()
    def those_that_are_open_are_held_while_it_wakes(self) -> None:
        assert [one.request for one in self.activation.held] == self.open
        assert not self.open or self.activation.phase is Phase.WAKING
        assert len(self.open) <= ASLEEP.bounds.most_held


TestAnyOrder = AnyOrder.TestCase
