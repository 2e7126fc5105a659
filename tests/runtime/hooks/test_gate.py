from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from runtime.autoscale.change import Before
from runtime.autoscale.decision import Cause
from runtime.hooks.answer import Answer, Result
from runtime.hooks.gate import AGAIN_S, Gate, Passed, passed

OK, FAILED, LATE = Answer(Result.OK), Answer(Result.FAILED), Answer(Result.TIMEOUT)
DROPPED = Answer(Result.DROPPED)
NOT_NOW = Answer(Result.NOT_NOW, "a backup runs")


def change(name: str, before: int, after: int) -> Before:
    return Before(
        change=name,
        deployment="web",
        at_unix_s=0.0,
        from_replicas=before,
        to_replicas=after,
        cause=Cause.MORE,
        why="",
    )


UP, DOWN = change("up", 2, 4), change("down", 2, 1)


def step(gate: Gate, what: Before, answer: Answer | None = None, now_s: float = 0.0) -> Passed:
    return passed(gate, what, answer, now_s=now_s, timeout_s=5.0)


def put_off(what: Before, now_s: float = 0.0) -> Gate:
    return step(step(Gate(), what, None, now_s).gate, what, NOT_NOW, now_s).gate


def test_it_is_asked_about_once_and_waits_for_the_answer() -> None:
    asked = step(Gate(), UP)
    assert (asked.may_begin, asked.is_asking) == (False, True)
    waiting = step(asked.gate, UP, None, 4.9)
    assert waiting == Passed(asked.gate, may_begin=False)
    assert step(waiting.gate, UP, OK, 4.9) == Passed(Gate(), may_begin=True)


def test_a_hook_that_fails_or_is_late_holds_up_nothing() -> None:
    asked = step(Gate(), UP).gate
    for answer in (FAILED, LATE, DROPPED):
        assert step(asked, UP, answer, 1.0).may_begin
    assert step(asked, UP, None, 5.0).may_begin
    assert step(asked, UP, None, -1.0).may_begin  # a clock that was set back


def test_not_now_is_asked_again_later() -> None:
    off = put_off(UP, 1.0)
    assert off.put_off is not None
    assert off.put_off.said == "a backup runs"
    assert step(off, UP, None, AGAIN_S) == Passed(off, may_begin=False)
    again = step(off, UP, None, 1.0 + AGAIN_S)
    assert again.is_asking
    assert step(again.gate, UP, OK, 40.0).may_begin


def test_the_answer_says_when_to_ask_again_within_reason() -> None:
    asked = step(Gate(), UP).gate
    for said_s, waits_s in ((90.0, 90.0), (0.0, 1.0), (1e9, 3600.0)):
        off = step(asked, UP, Answer(Result.NOT_NOW, "", 0, said_s), 10.0).gate.put_off
        assert off is not None
        assert off.until_s == 10.0 + waits_s


def test_what_is_put_off_one_way_is_asked_at_once_the_other_way() -> None:
    assert not step(put_off(DOWN), change("down again", 3, 2), None, 1.0).is_asking
    assert step(put_off(DOWN), UP, None, 1.0).is_asking


def test_another_change_in_its_place_is_asked_about_anew() -> None:
    asked = step(Gate(), UP).gate
    found = step(asked, DOWN, OK, 1.0)  # the answer was to the other one
    assert (found.may_begin, found.is_asking) == (False, True)


def test_from_nothing_it_begins_at_once_whatever_was_put_off() -> None:
    awake = change("awake", 0, 1)
    assert step(Gate(), awake) == Passed(Gate(), may_begin=True, is_asking=True)
    assert step(put_off(UP), awake).may_begin


@given(
    st.lists(
        st.tuples(
            st.sampled_from([UP, UP, UP, DOWN]),
            st.sampled_from([None, None, OK, FAILED, LATE, NOT_NOW]),
            st.floats(0.1, 3.0),
        ),
        max_size=60,
    )
)
def test_only_not_now_makes_a_change_wait_for_longer_than_a_hook_may_take(
    steps: list[tuple[Before, Answer | None, float]],
) -> None:
    gate, now_s, waits_since_s = Gate(), 0.0, None
    for what, answer, passed_s in steps:
        now_s += passed_s
        was_asked = gate.asked is not None and gate.asked.change == what.change
        if not was_asked:
            waits_since_s = now_s
        found = step(gate, what, answer if was_asked else None, now_s)
        assert not (found.may_begin and found.is_asking)
        if found.gate.asked is not None:
            assert waits_since_s is not None
            assert now_s - waits_since_s < 5.0
        elif not found.may_begin:
            assert found.gate.put_off is not None
        gate = found.gate
