"""Questions to all processes, without processes."""

from __future__ import annotations

from scoring.supervision.link_messages import Answer, Answered
from scoring.supervision.relay import Relay
from scoring.supervision.restarts import BACKOFF_S, SETTLED_S, Restarts


def test_answers_come_one_by_one_and_end() -> None:
    relay = Relay()
    number = relay.ask(asker=1, ask_id=7, asked=[1, 2])
    assert relay.answer(number, 2, b"b") == [(1, Answer(7, b"b"))]
    assert relay.answer(number, 2, b"again") == []
    assert relay.answer(number, 1, b"a") == [(1, Answer(7, b"a")), (1, Answered(7, 0))]
    assert len(relay) == 0


def test_who_died_or_was_too_late_is_missing() -> None:
    relay = Relay()
    number = relay.ask(asker=1, ask_id=7, asked=[1, 2, 3])
    assert relay.gone(3) == []
    assert relay.answer(number, 1, b"a") == [(1, Answer(7, b"a"))]
    assert relay.give_up(number) == [(1, Answered(7, 2))]
    assert relay.give_up(number) == []
    assert relay.answer(number, 2, b"late") == []


def test_a_question_ends_with_its_asker() -> None:
    relay = Relay()
    number = relay.ask(asker=1, ask_id=7, asked=[1, 2])
    assert relay.gone(1) == []
    assert relay.answer(number, 2, b"b") == []


def test_restarts_in_a_row_wait_longer_until_one_settles() -> None:
    restarts = Restarts()
    waits = [restarts.delay_s(ready_for_s=0) for _ in range(len(BACKOFF_S) + 1)]
    assert waits == [*BACKOFF_S, BACKOFF_S[-1]]
    assert restarts.delay_s(ready_for_s=SETTLED_S) == 0
    assert restarts.delay_s(ready_for_s=0) == BACKOFF_S[1]
