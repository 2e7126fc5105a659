from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from runtime.autoscale.decision import Cause, Decision
from runtime.hooks.answer import Answer, Result
from runtime.hooks.gate import AGAIN_S, Gate, Gated, gated

OK, FAILED, LATE = Answer(Result.OK), Answer(Result.FAILED), Answer(Result.TIMEOUT)
NOT_NOW = Answer(Result.NOT_NOW, "a backup runs")


def want(replicas: int) -> Decision:
    return Decision(replicas, f"{replicas} are needed", Cause.MORE)


def step(
    gate: Gate,
    replicas: int,
    current: int,
    answer: Answer | None = None,
    now_s: float = 0.0,
    most: int = 10,
    is_asked: bool = True,
) -> Gated:
    return gated(
        gate,
        want(replicas),
        current=current,
        answer=answer,
        now_s=now_s,
        timeout_s=5.0,
        most=most,
        is_asked=is_asked,
    )


def test_nothing_is_asked_where_nothing_changes() -> None:
    assert step(Gate(), 2, 2) == Gated(Gate(), 2)


def test_where_nobody_is_to_be_asked_it_begins_at_once() -> None:
    assert step(Gate(), 4, 2, is_asked=False) == Gated(Gate(), 4, begins=want(4))


def test_it_waits_for_the_answer_and_then_begins() -> None:
    asked = step(Gate(), 4, 2)
    assert (asked.replicas, asked.ask, asked.begins) == (2, want(4), None)
    waiting = step(asked.gate, 4, 2, now_s=4.9)
    assert waiting == Gated(asked.gate, 2)
    assert step(waiting.gate, 4, 2, OK, 4.9) == Gated(Gate(), 4, begins=want(4))


def test_a_hook_that_fails_or_is_late_holds_up_nothing() -> None:
    asked = step(Gate(), 4, 2).gate
    for answer in (FAILED, LATE):
        assert step(asked, 4, 2, answer, 1.0).begins == want(4)
    assert step(asked, 4, 2, None, 5.0).begins == want(4)
    assert step(asked, 4, 2, None, -1.0).begins == want(4)  # a clock that was set back


def test_not_now_is_asked_again_later() -> None:
    asked = step(Gate(), 4, 2).gate
    off = step(asked, 4, 2, NOT_NOW, 1.0)
    assert off.replicas == 2
    assert off.gate.put_off is not None
    assert off.gate.put_off.said == "a backup runs"
    assert step(off.gate, 6, 2, now_s=AGAIN_S) == Gated(off.gate, 2)
    again = step(off.gate, 6, 2, now_s=1.0 + AGAIN_S)
    assert again.ask == want(6)


def test_the_answer_says_when_to_ask_again_within_reason() -> None:
    asked = step(Gate(), 4, 2).gate
    for said_s, waits_s in ((90.0, 90.0), (0.0, 1.0), (1e9, 3600.0)):
        off = step(asked, 4, 2, Answer(Result.NOT_NOW, "", 0, said_s), 10.0).gate.put_off
        assert off is not None
        assert off.until_s == 10.0 + waits_s


def test_what_was_put_off_one_way_is_asked_at_once_the_other_way() -> None:
    off = step(step(Gate(), 1, 3).gate, 1, 3, NOT_NOW, 0.0).gate
    assert step(off, 1, 3, now_s=1.0).ask is None
    assert step(off, 5, 3, now_s=1.0).ask == want(5)


def test_a_need_that_goes_away_gives_up_what_was_asked() -> None:
    asked = step(Gate(), 4, 2).gate
    assert step(asked, 2, 2, now_s=1.0) == Gated(Gate(), 2, given_up=want(4))
    turned = step(asked, 1, 2, OK, 1.0)
    assert (turned.replicas, turned.given_up, turned.ask) == (2, want(4), want(1))


def test_more_need_does_not_ask_anew_and_so_waits_no_longer() -> None:
    asked = step(Gate(), 4, 2).gate
    assert step(asked, 3, 2, now_s=1.0) == Gated(asked, 2)
    assert step(asked, 9, 2, now_s=2.0) == Gated(asked, 2)
    assert step(asked, 9, 2, now_s=5.0).replicas == 4
    assert step(Gate(), 9, 4, now_s=5.5).ask == want(9)


def test_fewer_than_are_needed_by_then_are_given_up() -> None:
    asked = step(Gate(), 2, 5).gate
    found = step(asked, 3, 5, OK, 1.0)
    assert (found.replicas, found.given_up, found.ask) == (5, want(2), want(3))


def test_what_is_not_declared_any_more_is_given_up() -> None:
    asked = step(Gate(), 6, 2).gate
    found = step(asked, 4, 2, OK, 1.0, most=4)
    assert (found.replicas, found.given_up, found.ask) == (2, want(6), want(4))


def test_from_nothing_it_begins_at_once_whatever_was_put_off() -> None:
    assert step(Gate(), 1, 0) == Gated(Gate(), 1, begins=want(1))
    off = step(step(Gate(), 0, 1).gate, 0, 1, NOT_NOW).gate
    assert step(off, 2, 0, now_s=1.0).begins == want(2)


@given(
    st.lists(
        st.tuples(
            st.integers(0, 6),
            st.sampled_from([None, None, OK, FAILED, LATE, NOT_NOW]),
            st.floats(0.1, 3.0),
        ),
        max_size=60,
    )
)
def test_each_change_is_what_was_asked_and_each_asking_has_one_end(
    steps: list[tuple[int, Answer | None, float]],
) -> None:
    gate, current, now_s, open_ = Gate(), 1, 0.0, 0
    asked_s = 0.0
    for replicas, answer, passed_s in steps:
        now_s += passed_s
        was_asked = gate.asked
        found = step(gate, replicas, current, answer if was_asked else None, now_s)
        if was_asked is not None:
            ended = [found.begins == was_asked.decision, found.given_up == was_asked.decision]
            ended.append(found.gate.put_off is not None and found.gate.asked is None)
            open_ -= any(ended)
        if found.ask is not None:
            open_, asked_s = open_ + 1, now_s
        assert open_ == (found.gate.asked is not None)
        if found.begins is not None:
            assert found.replicas == found.begins.replicas != current
        else:
            assert found.replicas == current
        if found.gate.asked is not None:
            assert now_s - asked_s < 5.0  # never longer than the time of a hook
        gate, current = found.gate, found.replicas
