"""A dispatcher on an event loop whose clock only the test moves, before an engine that runs only
what the test lets it.

with Desk() as desk:
    desk.ask(1)
    desk.settle()
    desk.engine.finish()
    assert desk.answers[1] == [2]
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Sequence
from contextvars import Context
from types import TracebackType
from typing import Any

from scoring.cost import CostModel
from scoring.dispatcher import Dispatcher, Observer
from scoring.engine import Merging
from scoring.errors import ScoringError
from scoring.work import Work

Answers = Sequence[int | ScoringError]


class StillLoop(asyncio.SelectorEventLoop):
    """Time stands still between two calls of ``advance``."""

    def __init__(self) -> None:
        self.now = 1000.0
        self._is_busy = False
        super().__init__()

    def time(self) -> float:
        """The test's second."""
        return self.now

    def call_soon(  # type: ignore[override]
        self, callback: Callable[..., Any], *args: Any, context: Context | None = None
    ) -> asyncio.Handle:
        """Remembers that there is something to do."""
        self._is_busy = True
        return super().call_soon(callback, *args, context=context)

    def settle(self) -> None:
        """Run until nothing is left to do at this second."""
        self._is_busy = True
        while self._is_busy:
            self._is_busy = False
            super().call_soon(self.stop)
            self.run_forever()

    def advance(self, seconds: float) -> None:
        """Let time pass; what is due then happens."""
        self.now += seconds
        self.settle()


class Run:
    """A batch under way."""

    def __init__(self, items: Sequence[int], done: Callable[[Answers], None]) -> None:
        self.items = list(items)
        self._done = done

    def finish(self, answers: Answers | None = None) -> None:
        """Answer: with twice each item unless told otherwise."""
        self._done([item * 2 for item in self.items] if answers is None else answers)


class HandEngine:
    """Batches stay under way until the test finishes them; at once if ``is_inline``. Checks that
    the dispatcher keeps to the port's contract."""

    def __init__(self, slots: int = 1, *, is_merging: bool = True, is_inline: bool = False) -> None:
        self.slots = slots
        self.ready = True
        self.broken: str | None = None
        self.merging = Merging(is_merging, "it is" if is_merging else "one by one")
        self.is_inline = is_inline
        self.runs: list[Run] = []
        self.batches: list[list[int]] = []
        """All that ever ran."""
        self.before_run: Callable[[Sequence[int]], None] = lambda items: None
        self.on_change: Callable[[], None] = lambda: None

    async def start(self, on_change: Callable[[], None]) -> None:
        self.on_change = on_change

    def run(self, batch: Sequence[int], done: Callable[[Answers], None]) -> None:
        assert len(self.runs) < self.slots, "more batches than slots"
        assert len(batch) >= 1
        assert len(batch) == 1 or self.merging.allowed, "merged, which is not allowed"
        self.before_run(batch)
        self.batches.append(list(batch))
        run = Run(batch, done)
        if self.is_inline:
            run.finish()
        else:
            self.runs.append(run)

    def finish(self, answers: Answers | None = None) -> list[int]:
        """Finish the oldest batch; returns its items."""
        run = self.runs.pop(0)
        run.finish(answers)
        return run.items

    async def close(self) -> None:
        self.slots = 0
        self.ready = False


class Notes(Observer):
    """What the dispatcher reported."""

    def __init__(self) -> None:
        self.rejections: list[str] = []
        self.failures: list[str] = []
        self.rows: list[int] = []

    def ran(self, rows: int, queue_s: Sequence[float], compute_s: float, failed: int) -> None:
        self.rows.append(rows)

    def rejected(self, reason: str) -> None:
        self.rejections.append(reason)

    def failed(self, kind: str) -> None:
        self.failures.append(kind)


class Desk:
    """All of it; ``answers`` has what each item's ``done`` was called with."""

    def __init__(self, engine: HandEngine | None = None, **options: Any) -> None:
        self.loop = StillLoop()
        self.engine = engine or HandEngine()
        self.notes = Notes()
        self.errors: list[Any] = []
        self.answers: dict[int, list[Any]] = defaultdict(list)
        self.loop.set_exception_handler(lambda loop, context: self.errors.append(context))
        self.dispatcher: Dispatcher[int, int] = Dispatcher(
            self.engine,
            **{
                "queue_limit": 100,
                "cost": CostModel(pays=True),
                "observer": self.notes,
                "clock": lambda: self.loop.now,
                **options,
            },
        )
        self.loop.run_until_complete(self.dispatcher.start())

    def __enter__(self) -> Desk:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.loop.close()

    def ask(self, item: int, *, within: float | None = None, **options: Any) -> Work[int, int]:
        """Submit a request whose deadline is ``within`` seconds from now."""
        deadline = None if within is None else self.loop.now + within
        work: Work[int, int] = Work(
            item,
            lambda work, answer: self.answers[item].append(answer),
            **{"key": "k", "deadline": deadline, "body": b"%d" % item, **options},
        )
        self.dispatcher.submit(work)
        return work

    def settle(self) -> None:
        """Let happen what happens at this second."""
        self.loop.settle()

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self.loop.advance(seconds)

    def finish(self, answers: Answers | None = None, *, after: float = 0.0) -> list[int]:
        """Finish the oldest batch ``after`` seconds; returns its items."""
        self.settle()
        self.advance(after)
        items = self.engine.finish(answers)
        self.settle()
        return items

    def teach(self, a: float, b: float) -> None:
        """Let it know what a batch costs."""
        for rows in (1, 2, 4, 8, 16, 32) * 3:
            self.dispatcher.cost.observe(rows, a * rows + b)

    def answer(self, item: int) -> Any:
        """The one answer that ``item`` got."""
        (answer,) = self.answers[item]
        return answer


async def ask(
    dispatcher: Dispatcher[Any, Any], work_of: Callable[[Callable[..., None]], Work[Any, Any]]
) -> Any:
    """The answer to ``work_of(done)``, or what it fails with; dropped when cancelled."""
    answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

    def done(work: Work[Any, Any], outcome: Any) -> None:
        if isinstance(outcome, ScoringError):
            answer.set_exception(outcome)
        else:
            answer.set_result(outcome)

    work = work_of(done)
    dispatcher.submit(work)
    try:
        return await answer
    finally:
        dispatcher.drop(work)
