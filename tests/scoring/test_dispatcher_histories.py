"""Whatever happens in whatever order: every request is answered once, and nothing is left over."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from scoring.errors import (
    EngineError,
    ExpiredError,
    InputError,
    ScoringError,
    WorkerDiedError,
)
from scoring.work import State, Work
from tests.scoring.desk import Desk, HandEngine

FAULTS: tuple[ScoringError, ...] = (InputError("bad"), EngineError("bad"), WorkerDiedError("dead"))
LIMIT = 12


class Histories(RuleBasedStateMachine):
    """The dispatcher, and a list of all requests that it let in."""

    def __init__(self) -> None:
        super().__init__()
        self.number = 0
        self.let_in: dict[int, Work[int, int]] = {}
        self.dropped: set[int] = set()

    @initialize(
        slots=st.integers(0, 3),
        is_merging=st.booleans(),
        is_inline=st.booleans(),
        max_batch=st.integers(1, 6),
        b=st.none() | st.floats(0, 0.5),
    )
    def begin(
        self, slots: int, is_merging: bool, is_inline: bool, max_batch: int, b: float | None
    ) -> None:
        self.most_slots = max(1, slots)
        engine = HandEngine(slots, is_merging=is_merging, is_inline=is_inline)
        self.desk = Desk(engine, queue_limit=LIMIT, max_batch=max_batch, inline_s=0.3)
        if b is not None:
            self.desk.teach(0.05, b)

    def teardown(self) -> None:
        """In the end everything that is under way comes to its end."""
        if not hasattr(self, "desk"):
            return
        desk = self.desk
        desk.engine.broken, desk.engine.slots = None, self.most_slots
        desk.engine.on_change()
        desk.settle()
        while desk.engine.runs:
            desk.finish()
        desk.advance(100)
        assert desk.dispatcher.in_flight == 0
        assert (desk.dispatcher._line.waiting, desk.dispatcher._line.rows) == (0, 0)
        assert not desk.dispatcher._running
        for number, work in self.let_in.items():
            assert work.state == State.DONE
            assert len(desk.answers[number]) == (0 if number in self.dropped else 1), "lost"
        assert not desk.errors
        desk.loop.close()

    @rule(
        key=st.sampled_from(["a", "b", None]),
        rows=st.integers(1, 4),
        within=st.none() | st.sampled_from([0.1, 0.5, 2.0]),
        priority=st.sampled_from([1, 100, 100, 100]),
        body=st.sampled_from([b"x", b"y", b"z"]),
    )
    def ask(self, **options: Any) -> None:
        self.number += 1
        try:
            self.let_in[self.number] = self.desk.ask(self.number, **options)
        except ScoringError:
            assert self.number not in self.desk.answers, "refused, and answered as well"

    @rule()
    def settle(self) -> None:
        self.desk.settle()

    @rule(seconds=st.sampled_from([0.01, 0.1, 1.0]))
    def wait(self, seconds: float) -> None:
        self.desk.advance(seconds)

    @precondition(lambda self: self.desk.engine.runs)
    @rule(which=st.integers(0, 2), faults=st.lists(st.sampled_from([None, *FAULTS]), max_size=6))
    def finish(self, which: int, faults: list[ScoringError | None]) -> None:
        runs = self.desk.engine.runs
        run = runs.pop(which % len(runs))
        answers: list[Any] = [item * 2 for item in run.items]
        if any(isinstance(fault, WorkerDiedError) for fault in faults):
            answers = [FAULTS[-1]] * len(answers)
        for number, fault in enumerate(faults[: len(answers)]):
            answers[number] = fault or answers[number]
        run.finish(answers)

    @precondition(lambda self: self.let_in)
    @rule(which=st.integers(0, 1000))
    def leave(self, which: int) -> None:
        number = list(self.let_in)[which % len(self.let_in)]
        was_waiting = self.let_in[number].state == State.WAITING
        if self.desk.dispatcher.drop(self.let_in[number]):
            assert was_waiting
            self.dropped.add(number)

    @rule(slots=st.integers(0, 3))
    def resize(self, slots: int) -> None:
        engine = self.desk.engine
        engine.slots = min(self.most_slots, max(slots, len(engine.runs)))
        engine.broken = None
        engine.on_change()

    @rule()
    def break_down(self) -> None:
        engine = self.desk.engine
        engine.slots, engine.broken = len(engine.runs), "no worker lives"
        engine.on_change()
        self.desk.settle()
        waiting = [work for work in self.let_in.values() if work.state == State.WAITING]
        assert not waiting, "it waits for a worker that will not come"

    @invariant()
    def the_counts_are_right(self) -> None:
        dispatcher = self.desk.dispatcher
        states = [work.state for work in self.let_in.values()]
        assert dispatcher.load.waiting == states.count(State.WAITING)
        assert dispatcher.in_flight == states.count(State.WAITING) + states.count(State.RUNNING)
        under_way = sum(len(run.items) for run in self.desk.engine.runs)
        assert states.count(State.RUNNING) == under_way
        assert dispatcher.load.waiting_rows == sum(
            work.rows for work in self.let_in.values() if work.state == State.WAITING
        )

    @invariant()
    def nobody_gets_two_answers_or_the_wrong_one(self) -> None:
        for number, answers in self.desk.answers.items():
            assert len(answers) == 1
            assert number not in self.dropped
            answer = answers[0]
            if isinstance(answer, ExpiredError):
                assert self.let_in[number].deadline is not None
            elif not isinstance(answer, ScoringError):
                assert answer == number * 2


Histories.TestCase.settings = settings(max_examples=60, stateful_step_count=40)
test_histories = pytest.mark.slow(Histories.TestCase)
