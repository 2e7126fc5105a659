"""The queue in front of an engine: acts on what policy.py decides.

dispatcher = Dispatcher(engine, queue_limit=1000)
await dispatcher.start()
dispatcher.submit(Work(item, done))

No task, future or timer belongs to a request: what has arrived while the event loop was busy, or
while the engine was, is found together by the next ``_pump`` and runs as one batch if that pays.
"""

from __future__ import annotations

import asyncio
import heapq
import time
import weakref
from collections.abc import Callable, Sequence
from typing import Any, Generic, Protocol, TypeVar

from scoring import policy
from scoring.cost import CostModel
from scoring.engine import Engine
from scoring.errors import (
    DeadlineError,
    DrainingError,
    EngineError,
    ExpiredError,
    QuarantinedError,
    QueueFullError,
    ScoringError,
    UnavailableError,
    WorkerDiedError,
)
from scoring.quarantine import Died, Quarantine, Survived
from scoring.work import DONE, RUNNING, WAITING, Line, Work

In = TypeVar("In")
Out = TypeVar("Out")

STOPPED = "the server has stopped"
SCAN = 256
"""How many requests of another kind a batch's search passes over."""


class Observer:
    """What is told of each batch and refusal; this one does not care."""

    def ran(self, rows: int, queue_s: Sequence[float], compute_s: float, failed: int) -> None:
        """A batch has come back; ``failed`` of its requests have no answer."""

    def rejected(self, reason: str) -> None:
        """A request was not run."""

    def failed(self, kind: str) -> None:
        """A request failed in the engine."""


class Recorder(Protocol):
    """Knows what runs in this very process, so that somebody can tell what killed it."""

    def set_running(self, bodies: Sequence[bytes]) -> None:
        """These run now."""

    def clear_running(self) -> None:
        """Nothing does."""


class _Batch(Generic[In, Out]):
    """A batch under way."""

    __slots__ = ("expected_s", "rows", "started", "works")

    def __init__(self, works: list[Work[In, Out]], rows: int, started: float, expected_s: float):
        self.works = works
        self.rows = rows
        self.started = started
        self.expected_s = expected_s


class Dispatcher(Generic[In, Out]):
    """Lets requests wait in arrival order and hands them to the engine as places get free."""

    def __init__(
        self,
        engine: Engine[In, Out],
        *,
        queue_limit: int,
        cost: CostModel | None = None,
        max_batch: int | None = None,
        inline_s: float | None = None,
        observer: Observer | None = None,
        recorder: Recorder | None = None,
        quarantine: Quarantine | None = None,
        tell: Callable[[Died | Survived], None] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.engine = engine
        self.cost = CostModel() if cost is None else cost
        self.max_batch = max_batch or policy.DEFAULT_MAX_BATCH
        self.quarantine = Quarantine() if quarantine is None else quarantine
        self.observer = observer or Observer()
        self.batches = 0
        self.inline_s = inline_s
        self.on_change: Callable[[], None] = _nothing
        """Called when the engine's slots, readiness or breakage may have changed."""
        self.is_eager = False
        """There is one client: to look for others before running would be a wait in vain."""
        self._tell = tell
        self._recorder = recorder
        self._queue_limit = queue_limit
        self._clock = clock
        self._line: Line[In, Out] = Line()
        self._running: set[_Batch[In, Out]] = set()
        # What was answered long before its deadline, with its body, must not lie here until then.
        self._deadlines: list[tuple[float, int, weakref.ref[Work[In, Out]]]] = []
        self._number = 0
        self._timer: asyncio.TimerHandle | None = None
        self._is_scheduled = False
        self._drain_until: float | None = None
        self._is_closed = False
        self._loop: asyncio.AbstractEventLoop | None = None

    def __repr__(self) -> str:
        return f"<Dispatcher waiting={self._line.waiting} running={len(self._running)}>"

    @property
    def load(self) -> policy.Load:
        """What waits and runs now."""
        now = self._clock()
        running_s = sum(max(0.0, b.started + b.expected_s - now) for b in self._running)
        return policy.Load(
            self._line.waiting,
            self._line.rows,
            len(self._running),
            self.engine.slots,
            self.cost,
            self.engine.merging.allowed,
            self.max_batch,
            running_s,
            self.inline_s,
        )

    @property
    def reason(self) -> str:
        """Why requests are merged into batches, or why not."""
        if not self.engine.merging.allowed:
            return self.engine.merging.reason
        if self.max_batch <= 1:
            return "max_batch is 1"
        return "it pays" if self.cost.pays else "it does not pay"

    @property
    def in_flight(self) -> int:
        """Requests let in and not answered yet."""
        return self._line.waiting + sum(len(batch.works) for batch in self._running)

    async def start(self) -> None:
        """Start the engine; raises what it raises."""
        self._loop = asyncio.get_running_loop()
        await self.engine.start(self._engine_changed)

    def refuse_at_door(self, deadline: float | None, rows: int = 1) -> None:
        """Raise the ScoringError with which a request that arrives now would be refused: before
        its body is parsed, so that refusing costs next to nothing."""
        if self.engine.broken is not None:
            self.observer.rejected("unavailable")
            raise UnavailableError(self.engine.broken)
        if self._is_closed:
            self.observer.rejected("unavailable")
            raise UnavailableError(STOPPED)
        is_free = deadline is None and self._drain_until is None
        if is_free and self._line.waiting < self._queue_limit:
            return
        now = self._clock()
        if self._drain_until is None and not self._line.waiting and not self._running:
            needs_s = self.cost.surely(rows) if self.cost.known else 0.0
            if deadline is not None and now + needs_s <= deadline:
                return
        refusal = policy.admit(
            self.load,
            rows=rows,
            queue_limit=self._queue_limit,
            left_s=None if deadline is None else deadline - now,
            drain_left_s=None if self._drain_until is None else self._drain_until - now,
        )
        if refusal is not None:
            self.observer.rejected(refusal.reason)
            raise _REFUSALS[refusal.reason](refusal.retry_after_s)

    def submit(self, work: Work[In, Out]) -> None:
        """Let a request in; its ``done`` is called with the engine's answer or a ScoringError.

        Raises QueueFullError, DeadlineError, DrainingError, UnavailableError or QuarantinedError
        when it is not let in."""
        self.refuse_at_door(work.deadline, work.rows)
        self.add(work, self._clock())

    def add(self, work: Work[In, Out], now: float) -> None:
        """Let in a request that ``refuse_at_door`` has just let pass; ``now`` is the monotonic
        second. Raises QuarantinedError."""
        if not self.quarantine.is_empty:
            self._check_quarantine(work)
        work.arrived = now
        self._line.add(work)
        if work.deadline is not None:
            self._watch(work, work.deadline)
        if self.is_eager:
            self._pump()
        elif not self._is_scheduled:
            self._schedule()

    def _check_quarantine(self, work: Work[In, Out]) -> None:
        mark = work.mark
        if self.quarantine.is_quarantined(mark):
            self.observer.rejected("quarantined")
            raise QuarantinedError
        work.alone = self.quarantine.is_suspect(mark)

    def drop(self, work: Work[In, Out]) -> bool:
        """The client is gone: whether the request still waited, and now never runs. ``done`` is not
        called."""
        if work.state != WAITING:
            return False
        self._line.drop(work)
        work.forget()
        self.observer.rejected("abandoned")
        return True

    def drain(self, until: float) -> None:
        """The server stops at the monotonic second ``until``: only what can be done by then is let
        in from now on."""
        self._drain_until = until

    async def close(self) -> None:
        """Refuse what waits, abandon what runs and close the engine."""
        self._is_closed = True
        self._fail_waiting(UnavailableError(STOPPED))
        if self._timer is not None:
            self._timer.cancel()
        await self.engine.close()

    def _engine_changed(self) -> None:
        self.on_change()
        self._schedule()

    def _schedule(self) -> None:
        """Look at the queue once the loop has read what is there to read."""
        if not self._is_scheduled and self._loop is not None and not self._loop.is_closed():
            self._is_scheduled = True
            self._loop.call_soon(self._pump)

    def _pump(self) -> None:
        """Start what can start."""
        self._is_scheduled = False
        engine, line = self.engine, self._line
        if engine.broken is not None:
            self._fail_waiting(UnavailableError(engine.broken))
        while line.waiting and len(self._running) < engine.slots:
            works = self._next()
            if not works:
                continue
            batch = self._start(works)
            if batch not in self._running:  # it ran on the loop: others want it now and then
                if line.waiting:
                    self._schedule()
                return

    def _next(self) -> list[Work[In, Out]]:
        """The next batch; empty when what was at the head had expired."""
        head = self._line.head()
        assert head is not None
        limit = 1
        if not head.alone and head.key is not None:
            limit = policy.rows_limit(
                self.cost,
                merges=self.engine.merging.allowed,
                max_batch=self.max_batch,
                inline_s=self.inline_s,
                batches=self.batches,
                rows=head.rows,
            )
        now = self._clock()
        if head.deadline is not None and limit > 1:
            limit = min(limit, self.cost.rows_within(head.deadline - now))
        works = self._line.take(head, limit, SCAN)
        rows, has_deadline = 0, False
        for work in works:
            rows += work.rows
            work.queue_s = now - work.arrived
            has_deadline = has_deadline or work.deadline is not None
        if has_deadline:
            works = self._in_time(works, now + (self.cost.surely(rows) if self.cost.known else 0.0))
        return works

    def _in_time(self, works: list[Work[In, Out]], until: float) -> list[Work[In, Out]]:
        """Those whose deadline is not before ``until``; the others have expired."""
        for work in works:
            if work.deadline is not None and until > work.deadline:
                self._expire(work)
        return [work for work in works if work.state == RUNNING]

    def _start(self, works: list[Work[In, Out]]) -> _Batch[In, Out]:
        rows, items = 0, []
        for work in works:
            rows += work.rows
            items.append(work.item)
        batch = _Batch(works, rows, self._clock(), self.cost.seconds(rows))
        self._running.add(batch)
        self.batches += 1
        if self._recorder is not None:
            self._recorder.set_running([work.essence for work in works])
        try:
            self.engine.run(items, lambda answers: self._finished(batch, answers))
        except Exception as error:  # a bug in an engine must answer its requests, not hang them
            self._report(error)
            internal = EngineError(f"internal error: {type(error).__name__}")
            self._finished(batch, [internal] * len(works))
        return batch

    def _finished(self, batch: _Batch[In, Out], answers: Sequence[Out | ScoringError]) -> None:
        if batch not in self._running:
            return
        self._running.discard(batch)
        if self._recorder is not None:
            self._recorder.clear_running()
        took_s = self._clock() - batch.started
        works = batch.works
        if len(answers) != len(works):
            self._report(ValueError(f"{len(answers)} answers for {len(works)} requests"))
            answers = [EngineError("internal error: answers are missing")] * len(works)
        failed = sum([isinstance(answer, ScoringError) for answer in answers])
        if failed < len(works):
            self.cost.observe(batch.rows, took_s)
        self.observer.ran(batch.rows, [work.queue_s for work in works], took_s, failed)
        again = []
        for work, answer in zip(works, answers, strict=True):
            work.run_s = took_s
            work.batch_rows = batch.rows
            if isinstance(answer, ScoringError):
                if self._failed(work, answer, is_alone=len(works) == 1):
                    again.append(work)
                continue
            if work.alone:
                self._note(self.quarantine.survived(work.mark))
            self._answer(work, answer)
        for work in reversed(again):
            self._line.add(work, first=True)
            if work.deadline is not None:
                self._watch(work, work.deadline)
        if self._line.waiting:
            self._schedule()

    def _failed(self, work: Work[In, Out], error: ScoringError, *, is_alone: bool) -> bool:
        """Answer with the error; True instead when the request is to run again."""
        if isinstance(error, WorkerDiedError):
            mark = work.mark
            self._note(self.quarantine.died(mark, alone=is_alone))
            if not is_alone and not self._is_closed:
                work.alone = True  # merging was our idea: whoever is innocent must not suffer
                return True
            if self.quarantine.is_quarantined(mark):
                error = QuarantinedError()
        self.observer.failed(type(error).__name__)
        self._answer(work, error)
        return False

    def _answer(self, work: Work[In, Out], outcome: Out | ScoringError) -> None:
        """Call ``done``. One that raises must not cost the others of its batch their answers."""
        work.state = DONE
        try:
            work.done(work, outcome)
        except Exception as error:
            self._report(error)
            if not isinstance(outcome, ScoringError):
                self._answer(work, EngineError(f"internal error: {type(error).__name__}"))

    def _note(self, item: Died | Survived | None) -> None:
        if item is not None and self._tell is not None:
            self._tell(item)

    def _watch(self, work: Work[In, Out], deadline: float) -> None:
        self._number += 1
        heap = self._deadlines
        heapq.heappush(heap, (deadline, self._number, weakref.ref(work)))
        if len(heap) > 1000 + 4 * self._line.waiting:  # most were answered long before
            heap[:] = [entry for entry in heap if _waits(entry[2]())]
            heapq.heapify(heap)
        if self._timer is None or heap[0][1] == self._number:
            self._arm()

    def _arm(self) -> None:
        heap = self._deadlines
        while heap and not _waits(heap[0][2]()):
            heapq.heappop(heap)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if heap and self._loop is not None:
            delay_s = max(0.0, heap[0][0] - self._clock())
            self._timer = self._loop.call_later(delay_s, self._on_deadline)

    def _on_deadline(self) -> None:
        now, heap = self._clock(), self._deadlines
        while heap and heap[0][0] <= now:
            work = heapq.heappop(heap)[2]()
            if work is not None and work.state == WAITING:
                self._line.drop(work)
                work.queue_s = now - work.arrived
                self._expire(work)
        self._arm()

    def _expire(self, work: Work[In, Out]) -> None:
        self.observer.rejected("expired")
        self._answer(work, ExpiredError(work.queue_s))
        work.forget()

    def _fail_waiting(self, error: ScoringError) -> None:
        for work in self._line.clear():
            self.observer.rejected("unavailable")
            self._answer(work, error)

    def _report(self, error: Exception) -> None:
        if self._loop is not None:
            self._loop.call_exception_handler({"message": "scoring failed", "exception": error})


_REFUSALS: dict[str, Callable[[float], ScoringError]] = {
    "full": QueueFullError,
    "deadline": DeadlineError,
    "draining": DrainingError,
}


def _waits(work: Work[Any, Any] | None) -> bool:
    return work is not None and work.state == WAITING


def _nothing() -> None:
    """Nobody wants to know."""
