"""Lines of the steps of a pipeline that a service carries out."""

from __future__ import annotations

from typing import Any

import pytest

from runtime.pipelines import Event, PipelineView, StepView
from runtime.pipelines.step_lines import Told

A, B = "a" * 32, "b" * 32


class Logs:
    """Of runs, by id; ``portion``: bytes of one answer."""

    def __init__(self, portion: int = 1000) -> None:
        self.text = {A: b"", B: b""}
        self.asked: list[str] = []
        self._portion = portion

    def say(self, id: str, *lines: str) -> None:
        self.text[id] += b"".join(f"2026-11-27T12:00:00Z {line}\n".encode() for line in lines)

    def read(self, id: str, offset: int) -> bytes:
        self.asked.append(id)
        return self.text[id][offset : offset + self._portion]


def _view(state: Any, run: str | None = "p:2", id: str | None = A, **more: Any) -> PipelineView:
    step = StepView("train", "script", "local", (), state, run=run, run_id=id, **more)
    return PipelineView("p", "p:1", "c" * 32, "running", None, {}, 0, None, (step,), ())


def _lines(*texts: str) -> list[Event]:
    return [Event("line", "train", text=text) for text in texts]


STARTED, FINISHED = Event("started", "train", "p:2"), Event("finished", "train", "p:2")


def test_lines_come_as_they_are_printed_between_start_and_end() -> None:
    logs, events = Logs(), list[Event]()
    told = Told(logs.read, events.append)
    told.look(_view("waiting", None, None))
    told.look(_view("running"))
    assert events == [STARTED]
    logs.say(A, "one", "two")
    told.look(_view("running"))
    assert events == [STARTED, *_lines("one", "two")]
    logs.say(A, "three", "finished")
    told.look(_view("finished"))
    assert events == [STARTED, *_lines("one", "two", "three"), FINISHED]


def test_a_step_that_was_quicker_than_a_look_has_all_its_lines() -> None:
    logs, events = Logs(portion=30), list[Event]()
    logs.say(A, *map(str, range(50)), "finished")
    Told(logs.read, events.append).look(_view("finished"))
    assert events == [STARTED, *_lines(*map(str, range(50))), FINISHED]


def test_how_long_a_step_took_is_told_though_start_and_end_are_seen_at_once() -> None:
    logs, events = Logs(), list[Event]()
    Told(logs.read, events.append).look(_view("finished", started_ms=1000, ended_ms=4500))
    assert [event.took_ms for event in events] == [None, 3500]


def test_a_try_that_failed_has_its_lines_before_the_next() -> None:
    logs, events = Logs(), list[Event]()
    told = Told(logs.read, events.append)
    told.look(_view("running"))
    logs.say(A, "no luck", "failed: exit code 1")
    logs.say(B, "again")
    told.look(_view("running", "p:3", B))
    assert events == [
        STARTED,
        *_lines("no luck"),
        Event("again", "train", "p:2"),
        Event("started", "train", "p:3"),
        *_lines("again"),
    ]


def test_while_a_step_runs_a_look_takes_one_portion_of_its_lines() -> None:
    logs, events = Logs(portion=100), list[Event]()
    told = Told(logs.read, events.append)
    logs.say(A, *("x" * 20 for _ in range(50)))
    told.look(_view("running"))
    assert logs.asked == [A]
    assert 0 < len(events) < 5


def test_nothing_is_told_of_what_was_done_before_it_was_resumed() -> None:
    logs, events = Logs(), list[Event]()
    logs.say(A, "old", "finished")
    told = Told(logs.read, events.append, _view("finished"))
    told.look(_view("finished"))
    assert (events, logs.asked) == ([], [])


def test_a_look_that_was_cut_short_goes_on_where_it_was() -> None:
    logs, events = Logs(), list[Event]()
    logs.say(A, "one", "finished")
    cuts = [True]

    def read(id: str, offset: int) -> bytes:
        if cuts.pop() if cuts else False:
            raise KeyboardInterrupt
        return logs.read(id, offset)

    told = Told(read, events.append)
    with pytest.raises(KeyboardInterrupt):
        told.look(_view("finished"))
    told.look(_view("finished"))
    assert events == [STARTED, *_lines("one"), FINISHED]
