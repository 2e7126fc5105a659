"""The queue in front of an engine: order, batches, refusals, and engines that misbehave."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from scoring.dispatcher import Dispatcher
from scoring.engine import EchoEngine
from scoring.errors import (
    DrainingError,
    EngineError,
    InputError,
    QueueFullError,
    ScoringError,
    UnavailableError,
)
from scoring.work import State, Work
from tests.scoring.desk import Desk, HandEngine, ask


def test_an_item_comes_back_from_the_engine() -> None:
    async def scenario() -> None:
        dispatcher: Dispatcher[int, int] = Dispatcher(EchoEngine(), queue_limit=1)
        await dispatcher.start()
        assert await ask(dispatcher, lambda done: Work(5, done)) == 5

    asyncio.run(scenario())


def test_what_arrives_together_runs_together_and_nothing_waits_for_more() -> None:
    with Desk() as desk:
        for item in range(3):
            desk.ask(item)
        desk.settle()  # the clock stands still: there is no timer that could start it
        assert [run.items for run in desk.engine.runs] == [[0, 1, 2]]
        desk.finish()
        assert [desk.answer(item) for item in range(3)] == [0, 2, 4]


def test_a_single_request_runs_at_once() -> None:
    with Desk(HandEngine(is_inline=True)) as desk:
        desk.ask(4)
        desk.settle()
        assert desk.answer(4) == 8
        assert desk.dispatcher.in_flight == 0


def test_while_the_engine_is_busy_requests_gather() -> None:
    with Desk() as desk:
        desk.ask(0)
        desk.settle()
        for item in range(1, 6):
            desk.ask(item)
            desk.settle()
        assert desk.finish() == [0]
        assert desk.finish() == [1, 2, 3, 4, 5]


def test_rows_are_counted_not_requests() -> None:
    with Desk(max_batch=10) as desk:
        for item, rows in enumerate((1, 4, 4, 4, 30, 2)):
            desk.ask(item, rows=rows)
        batches = [desk.finish() for _ in range(4)]
        assert batches == [[0, 1, 2], [3], [4], [5]]
        assert desk.notes.rows == [9, 4, 30, 2]


def test_different_kinds_do_not_mix_and_keep_their_order() -> None:
    with Desk() as desk:
        for item, key in enumerate(["a", "b", "a", "b", "a", None, None]):
            desk.ask(item, key=key)
        batches = [desk.finish() for _ in range(4)]
        assert batches == [[0, 2, 4], [1, 3], [5], [6]]


def test_an_engine_that_must_not_merge_gets_one_at_a_time_and_the_reason_is_its_own() -> None:
    with Desk(HandEngine(is_merging=False)) as desk:
        for item in range(3):
            desk.ask(item)
        assert [desk.finish() for _ in range(3)] == [[0], [1], [2]]
        assert desk.dispatcher.reason == "one by one"


def test_max_batch_1_switches_merging_off() -> None:
    with Desk(max_batch=1) as desk:
        for item in range(3):
            desk.ask(item)
        assert [desk.finish() for _ in range(3)] == [[0], [1], [2]]
        assert desk.dispatcher.reason == "max_batch is 1"


def test_never_more_batches_than_slots_side_by_side() -> None:
    with Desk(HandEngine(slots=2), max_batch=2) as desk:
        for item in range(7):
            desk.ask(item)
        desk.settle()
        assert [run.items for run in desk.engine.runs] == [[0, 1], [2, 3]]
        assert (desk.dispatcher.load.running, desk.dispatcher.load.waiting) == (2, 3)
        assert [desk.finish() for _ in range(4)] == [[0, 1], [2, 3], [4, 5], [6]]


def test_more_slots_start_what_waits() -> None:
    with Desk(HandEngine(slots=0)) as desk:
        desk.ask(1)
        desk.settle()
        assert not desk.engine.runs
        desk.engine.slots = 1
        desk.engine.on_change()
        assert desk.finish() == [1]


def test_urgent_requests_go_first() -> None:
    with Desk(max_batch=1) as desk:
        for item, priority in enumerate((100, 100, 1, 2)):
            desk.ask(item, priority=priority)
        assert [desk.finish() for _ in range(4)] == [[2], [3], [0], [1]]


def test_a_full_queue_refuses_with_a_time_and_loses_nothing() -> None:
    with Desk(queue_limit=2) as desk:
        desk.ask(0)
        desk.settle()
        desk.ask(1)
        desk.ask(2)
        with pytest.raises(QueueFullError) as refused:
            desk.ask(3)
        assert refused.value.retry_after_s > 0
        assert desk.notes.rejections == ["full"]
        assert [desk.finish(), desk.finish()] == [[0], [1, 2]]
        assert 3 not in desk.answers


def test_a_client_that_left_is_not_run_and_not_called() -> None:
    with Desk() as desk:
        desk.ask(0)
        desk.settle()
        gone = desk.ask(1)
        desk.ask(2)
        assert desk.dispatcher.drop(gone)
        assert not desk.dispatcher.drop(gone), "once is enough"
        assert desk.finish() == [0]
        assert desk.finish() == [2]
        assert 1 not in desk.answers
        assert desk.notes.rejections == ["abandoned"]
        assert gone.body == b"", "its body is let go at once"


def test_what_runs_already_is_not_dropped() -> None:
    with Desk() as desk:
        work = desk.ask(0)
        desk.settle()
        assert not desk.dispatcher.drop(work)
        desk.finish()
        assert desk.answer(0) == 0


def test_a_caller_that_is_cancelled_is_dropped() -> None:
    async def scenario() -> None:
        engine = HandEngine()
        dispatcher: Dispatcher[int, int] = Dispatcher(engine, queue_limit=9)
        await dispatcher.start()
        asks = [
            asyncio.create_task(ask(dispatcher, lambda done, n=n: Work(n, done)))  # type: ignore[misc]
            for n in range(3)
        ]
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        asks[1].cancel()
        await asyncio.sleep(0)
        assert engine.finish() == [0]
        await asyncio.sleep(0)
        assert engine.finish() == [2]
        assert (await asks[0], await asks[2]) == (0, 4)
        assert dispatcher.in_flight == 0

    asyncio.run(scenario())


def test_the_error_of_one_item_is_its_own() -> None:
    with Desk() as desk:
        for item in range(3):
            desk.ask(item)
        desk.finish([0, InputError("bad"), 4])
        assert (desk.answer(0), desk.answer(2)) == (0, 4)
        assert isinstance(desk.answer(1), InputError)
        assert desk.notes.failures == ["InputError"]


def test_a_broken_engine_refuses_new_and_waiting_requests_until_it_is_mended() -> None:
    with Desk(HandEngine(slots=0)) as desk:
        desk.ask(1)
        desk.settle()
        desk.engine.broken = "no worker lives"
        desk.engine.on_change()
        desk.settle()
        assert isinstance(desk.answer(1), UnavailableError)
        with pytest.raises(UnavailableError, match="no worker lives"):
            desk.ask(2)
        assert desk.notes.rejections == ["unavailable"] * 2
        desk.engine.broken, desk.engine.slots = None, 1
        desk.ask(3)
        assert desk.finish() == [3]


def test_a_draining_server_lets_in_what_it_can_do_in_time() -> None:
    with Desk() as desk:
        desk.teach(a=0.0, b=1.0)
        desk.dispatcher.drain(desk.loop.now + 2.5)
        desk.ask(0)
        desk.settle()
        desk.ask(1, key="a")
        with pytest.raises(DrainingError) as refused:
            desk.ask(2, key="b")
        assert refused.value.retry_after_s == 2.5
        assert [desk.finish(after=1), desk.finish(after=1)] == [[0], [1]]


def test_closing_refuses_what_waits_and_whatever_comes_later() -> None:
    with Desk() as desk:
        desk.ask(0)
        desk.settle()
        desk.ask(1)
        desk.loop.run_until_complete(desk.dispatcher.close())
        assert isinstance(desk.answer(1), UnavailableError)
        with pytest.raises(UnavailableError):
            desk.ask(2)


Breakage = Callable[[Sequence[int], Callable[[Any], None]], None]


def _raises(items: Sequence[int], done: Callable[[Any], None]) -> None:
    raise KeyError("a bug")


def _raises_after_answering(items: Sequence[int], done: Callable[[Any], None]) -> None:
    done(list(items))
    raise KeyError("a bug")


def _answers_too_few(items: Sequence[int], done: Callable[[Any], None]) -> None:
    done(list(items[:1]))


def _answers_too_many(items: Sequence[int], done: Callable[[Any], None]) -> None:
    done([*items, 1])


def _answers_twice(items: Sequence[int], done: Callable[[Any], None]) -> None:
    done(list(items))
    done(list(items))


@pytest.mark.parametrize(
    ("breakage", "is_answered"),
    [
        (_raises, False),
        (_raises_after_answering, True),
        (_answers_too_few, False),
        (_answers_too_many, False),
        (_answers_twice, True),
    ],
)
def test_a_bug_in_an_engine_answers_everybody_once(breakage: Breakage, is_answered: bool) -> None:
    with Desk() as desk:
        desk.engine.run = breakage  # type: ignore[method-assign, assignment]
        for item in range(3):
            desk.ask(item)
        desk.settle()
        answers = [desk.answer(item) for item in range(3)]
        if is_answered:
            assert answers == [0, 1, 2]
        else:
            assert all(isinstance(answer, EngineError) for answer in answers)
        assert desk.dispatcher.in_flight == 0
        assert bool(desk.errors) == (breakage is not _answers_twice), "the bug is reported"


def test_one_done_that_raises_costs_its_neighbours_nothing() -> None:
    with Desk() as desk:
        told: list[Any] = []

        def odd(work: Work[int, int], answer: int | ScoringError) -> None:
            told.append(answer)
            if not isinstance(answer, ScoringError):
                raise KeyError("it cannot be written")

        desk.ask(0)
        desk.dispatcher.submit(Work(1, odd, key="k"))
        desk.ask(2)
        assert desk.finish() == [0, 1, 2]
        assert (desk.answer(0), desk.answer(2)) == (0, 4)
        assert told[0] == 2
        assert isinstance(told[1], EngineError), "it is told so that it can answer its client"
        assert len(told) == 2
        assert len(desk.errors) == 1
        desk.ask(3)
        assert desk.finish() == [3]


def test_a_done_may_submit_and_drop() -> None:
    with Desk() as desk:
        work = desk.ask(5)
        desk.dispatcher.drop(work)

        def more(work: Work[int, int], answer: int) -> None:
            desk.ask(6)
            desk.dispatcher.drop(desk.ask(7))

        desk.dispatcher.submit(Work(1, more))
        assert desk.finish() == [1]
        assert desk.finish() == [6]
        assert work.state == State.DONE
        assert desk.dispatcher.in_flight == 0
