"""The queue in front of an engine: acts on what policy.py decides.

dispatcher = Dispatcher(engine, queue_limit=1000)
await dispatcher.start()
answer = await dispatcher.submit(item)
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from scoring import policy
from scoring.engine import Engine
from scoring.errors import EngineError, QueueFullError, ScoringError, UnavailableError

In = TypeVar("In")
Out = TypeVar("Out")


@dataclass(slots=True, eq=False)
class _Waiting(Generic[In, Out]):
    item: In
    answer: asyncio.Future[Out]


class Dispatcher(Generic[In, Out]):
    """Lets requests wait in arrival order and hands them to the engine as places get free."""

    def __init__(
        self,
        engine: Engine[In, Out],
        *,
        queue_limit: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.engine = engine
        self._queue_limit = queue_limit
        self._clock = clock
        self._queue: deque[_Waiting[In, Out]] = deque()
        self._running: set[asyncio.Task[None]] = set()
        self._cost_s: float | None = None

    def __repr__(self) -> str:
        return f"<Dispatcher waiting={len(self._queue)} running={len(self._running)}>"

    @property
    def load(self) -> policy.Load:
        """What waits and runs now."""
        return policy.Load(
            len(self._queue), len(self._running), self.engine.slots, cost_s=self._cost_s
        )

    async def start(self) -> None:
        """Start the engine; raises what it raises."""
        await self.engine.start(self._pump)

    async def submit(self, item: In) -> Out:
        """The engine's answer to ``item``. Cancelling the call drops the item from the queue.

        Raises QueueFullError, UnavailableError, or the item's own ScoringError."""
        self._refuse_if_broken()
        shed = policy.admit(self.load, queue_limit=self._queue_limit)
        if shed is not None:
            raise QueueFullError(shed.retry_after_s)
        waiting: _Waiting[In, Out] = _Waiting(item, asyncio.get_running_loop().create_future())
        self._queue.append(waiting)
        self._pump()
        return await waiting.answer

    async def close(self) -> None:
        """Refuse what waits, abandon what runs and close the engine."""
        self._fail_queue(UnavailableError("the server has stopped"))
        for task in self._running:
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)
        await self.engine.close()

    def _refuse_if_broken(self) -> None:
        if self.engine.broken is not None:
            raise UnavailableError(self.engine.broken)

    def _pump(self) -> None:
        """Start what the policy says; called on each arrival and each change of the engine."""
        if self.engine.broken is not None:
            self._fail_queue(UnavailableError(self.engine.broken))
        while policy.to_run(self.load) > 0:
            waiting = self._queue.popleft()
            if waiting.answer.done():  # the caller went away
                continue
            task = asyncio.create_task(self._run(waiting))
            self._running.add(task)
            task.add_done_callback(self._finished)

    def _finished(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        self._pump()

    async def _run(self, waiting: _Waiting[In, Out]) -> None:
        started = self._clock()
        try:
            [outcome] = await self.engine.run([waiting.item])
        except ScoringError as error:
            outcome = error
        except Exception as error:  # a bug in an engine must answer its request, not hang it
            outcome = EngineError(f"internal error: {type(error).__name__}")
            asyncio.get_running_loop().call_exception_handler(
                {"message": "engine failed", "exception": error}
            )
        self._cost_s = policy.observe(self._cost_s, self._clock() - started)
        if waiting.answer.done():
            return
        if isinstance(outcome, ScoringError):
            waiting.answer.set_exception(outcome)
        else:
            waiting.answer.set_result(outcome)

    def _fail_queue(self, error: ScoringError) -> None:
        while self._queue:
            waiting = self._queue.popleft()
            if not waiting.answer.done():
                waiting.answer.set_exception(error)
