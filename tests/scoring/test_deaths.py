"""Inputs that end the process they run in: found among their neighbours, tried twice, refused."""

from __future__ import annotations

from typing import Any

import pytest

from scoring.errors import QuarantinedError, RunTimeoutError, UnavailableError, WorkerDiedError
from scoring.quarantine import Died, Quarantine, Survived, fingerprint
from tests.scoring.desk import Desk, HandEngine

KILLER = 13


def _work_off(desk: Desk) -> None:
    """Run everything; whatever has the killer in its batch dies with it."""
    desk.settle()
    while desk.engine.runs:
        items = desk.engine.runs[0].items
        dies = KILLER in items
        desk.finish([WorkerDiedError("it died")] * len(items) if dies else None)


def test_innocent_neighbours_are_answered_and_the_killer_is_quarantined() -> None:
    told: list[Any] = []
    with Desk(tell=told.append) as desk:
        items = [1, 2, KILLER, 4, 5]
        for item in items:
            desk.ask(item)
        _work_off(desk)
        assert desk.engine.batches == [items, [1], [2], [KILLER], [4], [5]], "each alone, in order"
        assert [desk.answer(item) for item in (1, 2, 4, 5)] == [2, 4, 8, 10]
        assert isinstance(desk.answer(KILLER), QuarantinedError)
        assert desk.notes.failures == ["QuarantinedError"]
        mark = fingerprint(b"13")
        assert told[:5] == [Died(fingerprint(b"%d" % item), alone=False) for item in items]
        assert told[5:] == [
            Survived(fingerprint(b"1")),
            Survived(fingerprint(b"2")),
            Died(mark, alone=True),
            Survived(fingerprint(b"4")),
            Survived(fingerprint(b"5")),
        ]


def test_a_quarantined_input_is_refused_at_the_door() -> None:
    with Desk() as desk:
        for _ in range(2):
            desk.ask(KILLER)
            _work_off(desk)
        first, second = desk.answers[KILLER]
        assert isinstance(first, WorkerDiedError), "once may be chance"
        assert isinstance(second, QuarantinedError)
        with pytest.raises(QuarantinedError):
            desk.ask(KILLER)
        assert desk.notes.rejections == ["quarantined"]
        desk.ask(1)
        _work_off(desk)
        assert desk.answer(1) == 2


def test_a_suspect_runs_alone_and_is_cleared_when_it_survives() -> None:
    quarantine = Quarantine()
    quarantine.died(fingerprint(b"2"), alone=False)
    with Desk(quarantine=quarantine) as desk:
        for item in (1, 2, 3):
            desk.ask(item)
        _work_off(desk)
        assert desk.engine.batches == [[1], [2], [3]]
        assert quarantine.is_empty
        desk.ask(2)
        desk.ask(4)
        _work_off(desk)
        assert desk.engine.batches[3:] == [[2, 4]]


def test_those_that_run_again_go_before_those_that_came_later() -> None:
    with Desk() as desk:
        for item in (1, 2):
            desk.ask(item)
        desk.settle()
        for item in (3, 4):
            desk.ask(item)
        desk.finish([WorkerDiedError("it died")] * 2)
        _work_off(desk)
        assert desk.engine.batches == [[1, 2], [1], [2], [3, 4]]


def test_they_wait_for_the_new_worker() -> None:
    with Desk() as desk:
        for item in (1, 2):
            desk.ask(item)
        desk.settle()
        desk.engine.slots = 0
        desk.finish([WorkerDiedError("it died")] * 2)
        assert desk.dispatcher.in_flight == 2
        desk.engine.slots = 1
        desk.engine.on_change()
        _work_off(desk)
        assert (desk.answer(1), desk.answer(2)) == (2, 4)


def test_without_any_new_worker_they_are_told_so() -> None:
    with Desk() as desk:
        for item in (1, 2):
            desk.ask(item)
        desk.settle()
        desk.engine.slots, desk.engine.broken = 0, "no worker lives"
        desk.finish([WorkerDiedError("it died")] * 2)
        assert all(isinstance(desk.answer(item), UnavailableError) for item in (1, 2))


def test_after_closing_nothing_runs_again_and_everybody_is_answered() -> None:
    with Desk() as desk:
        for item in (1, 2):
            desk.ask(item)
        desk.settle()
        desk.loop.run_until_complete(desk.dispatcher.close())
        desk.finish([WorkerDiedError("it died")] * 2)
        assert all(isinstance(desk.answer(item), WorkerDiedError) for item in (1, 2))
        assert desk.dispatcher.in_flight == 0


def test_a_client_that_left_meanwhile_is_not_tried_again() -> None:
    with Desk() as desk:
        works = [desk.ask(item) for item in (1, 2)]
        desk.settle()
        desk.engine.slots = 0
        desk.finish([WorkerDiedError("it died")] * 2)
        assert desk.dispatcher.drop(works[1])
        desk.engine.slots = 1
        desk.engine.on_change()
        _work_off(desk)
        assert desk.engine.batches == [[1, 2], [1]]


def test_a_timeout_is_no_death() -> None:
    with Desk(HandEngine(is_merging=False)) as desk:
        desk.ask(1)
        desk.finish([RunTimeoutError(1.0)])
        assert isinstance(desk.answer(1), RunTimeoutError)
        assert desk.dispatcher.quarantine.is_empty
