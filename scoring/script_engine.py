"""The engine of a score.py: a pool of worker processes that are replaced when they die."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Mapping, Sequence

from scoring import frames
from scoring.errors import ScoringError, ScriptLoadError
from scoring.script_request import ScriptReply, ScriptRequest
from scoring.script_worker import ScriptWorker

logger = logging.getLogger("scoring")

ALARM_GRACE_S = 2.0
"""How long after SCORING_TIMEOUT_MS a worker may take to react before it is killed."""
BACKOFF_S = (0.0, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)
"""Pause before the n-th start in a row; a worker that was ready for STEADY_S resets it."""
STEADY_S = 1.0


class ScriptEngine:
    """``workers`` processes, each with the script loaded, each with one request at a time."""

    def __init__(
        self,
        environment: Mapping[str, str],
        *,
        workers: int,
        timeout_ms: int,
        cwd: str | None = None,
        backoff_s: Sequence[float] = BACKOFF_S,
    ) -> None:
        self._environment = environment
        self._cwd = cwd
        self._count = workers
        self._timeout_ms = timeout_ms
        self._backoff_s = backoff_s
        self._free: deque[tuple[ScriptWorker, asyncio.Event]] = deque()
        self._waiters: deque[asyncio.Future[None]] = deque()
        self._alive = 0
        self._streaming = 0
        self._keepers: list[asyncio.Task[None]] = []
        self._broken: str | None = None
        self._on_change: Callable[[], None] = lambda: None
        self.script: frames.Ready | None = None
        self.restarts = 0

    def __repr__(self) -> str:
        return f"<ScriptEngine alive={self._alive} free={len(self._free)} restarts={self.restarts}>"

    @property
    def slots(self) -> int:
        """Workers alive and not busy with the rest of a stream."""
        return self._alive - self._streaming

    @property
    def ready(self) -> bool:
        """Whether a worker is alive."""
        return self._alive > 0

    @property
    def broken(self) -> str | None:
        """Why nobody can answer for now."""
        return self._broken

    async def start(self, on_change: Callable[[], None]) -> None:
        """Start all workers; returns when every one is ready. Raises ScriptLoadError."""
        self._on_change = on_change
        loaded: list[asyncio.Future[frames.Ready]] = [
            asyncio.get_running_loop().create_future() for _ in range(self._count)
        ]
        self._keepers = [asyncio.create_task(self._keep(first)) for first in loaded]
        for first in loaded:  # the first failure is the answer; close() ends the others
            self.script = await first

    async def run(self, batch: Sequence[ScriptRequest]) -> Sequence[ScriptReply | ScoringError]:
        """Each request on a worker of its own, in order."""
        answers: list[ScriptReply | ScoringError] = []
        for request in batch:
            try:
                answers.append(await self._score(request))
            except ScoringError as error:
                answers.append(error)
        return answers

    async def close(self) -> None:
        """End every worker."""
        for keeper in self._keepers:
            keeper.cancel()
        await asyncio.gather(*self._keepers, return_exceptions=True)

    async def _score(self, request: ScriptRequest) -> ScriptReply:
        worker, gone = await self._take()
        returned = False

        def on_free(alive: bool) -> None:
            self._streaming -= returned
            if alive:
                self._give(worker, gone)
            else:
                gone.set()

        timeout_s = self._timeout_ms / 1000 + ALARM_GRACE_S
        reply = await worker.score(request, timeout_s=timeout_s, on_free=on_free)
        if not isinstance(reply.body, bytes):
            returned = True
            self._streaming += 1
        return reply

    async def _take(self) -> tuple[ScriptWorker, asyncio.Event]:
        while not self._free:  # a worker died between the policy's decision and now
            waiter = asyncio.get_running_loop().create_future()
            self._waiters.append(waiter)
            await waiter
        return self._free.popleft()

    def _give(self, worker: ScriptWorker, gone: asyncio.Event) -> None:
        self._free.append((worker, gone))
        while self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.done():
                waiter.set_result(None)
                break
        self._on_change()

    async def _keep(self, first: asyncio.Future[frames.Ready]) -> None:
        """Keep one place filled until cancelled: start, wait until it is gone, start again."""
        failures = 0
        while True:
            await asyncio.sleep(self._backoff_s[min(failures, len(self._backoff_s) - 1)])
            served = await self._one_life(first)
            if not first.done() or first.cancelled() or first.exception() is not None:
                return  # the very first load failed: start() has raised
            failures = 0 if served else failures + 1
            self.restarts += 1

    async def _one_life(self, first: asyncio.Future[frames.Ready]) -> bool:
        """From the start of one worker to its end; True when it was ready for STEADY_S."""
        try:
            worker = await ScriptWorker.spawn(self._environment, cwd=self._cwd)
        except OSError as error:
            reason = error.strerror or type(error).__name__
            self._not_loaded(first, ScriptLoadError("start", f"no process: {reason}"))
            return False
        gone = asyncio.Event()
        try:
            script = await worker.load()
            ready_at = asyncio.get_running_loop().time()
            self._broken = None
            self._alive += 1
            if not first.done():
                first.set_result(script)
            self._give(worker, gone)
            await self._until_gone(worker, gone)
            return asyncio.get_running_loop().time() - ready_at >= STEADY_S
        except ScriptLoadError as error:
            self._not_loaded(first, error)
            return False
        finally:
            await worker.stop()

    def _not_loaded(self, first: asyncio.Future[frames.Ready], error: ScriptLoadError) -> None:
        if not first.done():
            first.set_exception(error)
            return
        logger.error("a worker failed to load again (%s): %s", error.stage, error)
        if self._alive == 0:
            self._broken = "the scoring script fails to load; see the server's log"
            self._on_change()

    async def _until_gone(self, worker: ScriptWorker, gone: asyncio.Event) -> None:
        """Return when the worker has died or was given up; a free one is watched too."""
        died = asyncio.create_task(worker.wait())
        given_up = asyncio.create_task(gone.wait())
        try:
            await asyncio.wait({died, given_up}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            died.cancel()
            given_up.cancel()
            self._alive -= 1
            self._free = deque(pair for pair in self._free if pair[0] is not worker)
            self._on_change()
        logger.warning("worker %d is gone; starting another", worker.pid)
