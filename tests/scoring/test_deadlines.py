"""Deadlines: refused at the door, expired while waiting, never run after."""

from __future__ import annotations

import gc
import weakref

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scoring.errors import DeadlineError, ExpiredError, WorkerDiedError
from scoring.quarantine import Quarantine
from tests.scoring.desk import Desk, HandEngine


def test_a_deadline_that_what_waits_makes_impossible_is_refused_at_the_door() -> None:
    with Desk(max_batch=1) as desk:
        desk.teach(a=0.0, b=1.0)
        desk.ask(0)
        desk.settle()
        desk.ask(1)
        with pytest.raises(DeadlineError) as refused:
            desk.ask(2, within=2.0)
        assert refused.value.retry_after_s == pytest.approx(1.0, abs=0.01)
        assert desk.notes.rejections == ["deadline"]
        desk.ask(3, within=3.1)
        desk.advance(0.5)
        desk.ask(4, within=3.6)  # what runs is half through


def test_a_deadline_that_has_passed_on_arrival_is_refused() -> None:
    with Desk() as desk, pytest.raises(DeadlineError):
        desk.ask(0, within=-0.001)


def test_a_request_expires_while_the_only_place_is_busy_though_nothing_else_happens() -> None:
    with Desk() as desk:
        desk.ask(0)
        desk.settle()
        desk.ask(1, within=0.2)
        desk.settle()
        desk.advance(0.19)
        assert 1 not in desk.answers
        desk.advance(0.01)
        expired = desk.answer(1)
        assert isinstance(expired, ExpiredError)
        assert "waited 200 ms" in str(expired)
        assert desk.notes.rejections == ["expired"]
        assert desk.finish() == [0]
        desk.settle()
        assert desk.engine.batches == [[0]]


def test_what_was_answered_is_not_kept_until_its_deadline() -> None:
    with Desk() as desk:
        work = weakref.ref(desk.ask(0, within=3600.0))
        assert desk.finish() == [0]
        gc.collect()
        assert work() is None


def test_the_earliest_deadline_counts_not_the_first_to_arrive() -> None:
    with Desk() as desk:
        desk.ask(0)
        desk.settle()
        for item, within in enumerate((10.0, 0.5, 3.0, 0.2, 0.3), start=1):
            desk.ask(item, within=within)
        desk.settle()
        expired = []
        for _ in range(4):
            desk.advance(0.1)
            expired.append(sorted(desk.answers))
        assert expired == [[], [4], [4, 5], [4, 5]]
        desk.advance(0.1)
        assert sorted(desk.answers) == [2, 4, 5]
        desk.advance(3.0)
        assert desk.finish() == [0]
        assert desk.finish() == [1]


def test_an_expired_request_lets_go_of_what_it_holds() -> None:
    with Desk() as desk:
        desk.ask(0)
        desk.settle()
        work = desk.ask(1, within=0.2, context=object())
        desk.advance(0.3)
        assert (work.body, work.context) == (b"", None)


def test_what_could_only_be_answered_late_is_not_run() -> None:
    with Desk() as desk:
        desk.teach(a=0.0, b=1.0)
        desk.ask(0)
        desk.settle()
        desk.ask(1, within=2.1)  # 1 s for what runs, 1 s for itself
        assert desk.finish(after=1.5) == [0]
        assert isinstance(desk.answer(1), ExpiredError)
        assert not desk.engine.runs


def test_expired_ones_harm_none_of_their_batch() -> None:
    with Desk() as desk:
        desk.teach(a=0.0, b=1.0)
        desk.ask(0)
        desk.settle()
        desk.ask(1, within=2.1)
        desk.ask(2)
        desk.ask(3, within=60)
        assert desk.finish(after=1.5) == [0]
        assert desk.finish() == [2, 3]
        assert isinstance(desk.answer(1), ExpiredError)


def test_many_deadlines_that_were_met_do_not_pile_up() -> None:
    with Desk(HandEngine(is_inline=True)) as desk:
        for item in range(3000):
            desk.ask(item, within=60)
            desk.settle()
        assert len(desk.dispatcher._deadlines) <= 1001


def test_one_that_is_run_again_after_its_worker_died_still_expires() -> None:
    with Desk(quarantine=Quarantine()) as desk:
        desk.ask(0, within=1.0)
        desk.ask(1, within=1.0)
        desk.settle()
        desk.ask(2, within=0.2)
        desk.advance(0.5)  # this one's end was the last that anybody was woken for
        desk.finish([WorkerDiedError("died")] * 2)
        assert desk.engine.batches[-1] == [0]
        desk.advance(0.6)
        assert isinstance(desk.answer(1), ExpiredError)
        desk.finish()
        assert desk.answer(0) == 0
        assert desk.engine.batches == [[0, 1], [0]]


moves = st.one_of(
    st.tuples(st.just("ask"), st.none() | st.floats(0.0, 3.0), st.integers(1, 4)),
    st.tuples(st.just("wait"), st.floats(0.0, 1.0), st.just(0)),
    st.tuples(st.just("finish"), st.just(0.0), st.just(0)),
)


@settings(max_examples=100)
@given(
    st.lists(moves, max_size=40),
    st.integers(1, 3),
    st.booleans(),
    st.none() | st.tuples(st.floats(0, 0.1), st.floats(0, 0.5)),
)
def test_whatever_the_schedule_nothing_expired_is_run(
    schedule: list[tuple[str, float | None, int]],
    slots: int,
    is_merging: bool,
    known: tuple[float, float] | None,
) -> None:
    with Desk(HandEngine(slots, is_merging=is_merging), max_batch=4) as desk:
        deadlines: dict[int, float] = {}

        def look(items: object) -> None:
            assert isinstance(items, list)
            for item in items:
                assert deadlines.get(item, 1e9) > desk.loop.now - 1e-9, "it had expired"

        desk.engine.before_run = look
        if known is not None:
            desk.teach(*known)
        for item, (move, amount, rows) in enumerate(schedule):
            if move == "ask":
                if amount is not None:
                    deadlines[item] = desk.loop.now + amount
                try:
                    desk.ask(item, within=amount, rows=rows)
                except DeadlineError:
                    assert amount is not None
            elif move == "wait":
                assert amount is not None
                desk.advance(amount)
            elif desk.engine.runs:
                desk.finish()
            desk.settle()
            late = [n for n, at in deadlines.items() if at < desk.loop.now - 1e-6]
            ran = {n for batch in desk.engine.batches for n in batch}
            waiting = {work.item for work in desk.dispatcher._line}
            assert not waiting & set(late), "expired, and nobody told the client"
            assert not waiting & ran


def test_a_batch_is_no_larger_than_the_first_ones_deadline_allows() -> None:
    with Desk() as desk:
        desk.teach(a=0.1, b=1.0)
        for item in range(10):
            desk.ask(item, within=1.55 if item == 0 else 60.0)
        desk.settle()
        assert desk.engine.batches == [[0, 1, 2, 3, 4]], "ten would be late together"
        assert not desk.answers
