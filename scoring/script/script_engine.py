"""The engine of a score.py: a pool of worker processes that are replaced when they die."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Mapping, Sequence

from scoring.engine import Merging
from scoring.errors import ScriptLoadError, UnavailableError
from scoring.script import frames
from scoring.script.script_worker import ProofError, ScriptWorker, ending
from scoring.script.worker_link import Batch, Done, WorkerLink

logger = logging.getLogger("scoring")

ALARM_GRACE_S = 2.0
"""How long after SCORING_TIMEOUT_MS a worker may take to react before it is killed."""
BACKOFF_S = (0.0, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)
"""Pause before the n-th start in a row; a worker that was ready for STEADY_S resets it."""
STEADY_S = 1.0


class ScriptEngine:
    """``workers`` processes, each with the script loaded, each with one batch at a time.

    ``timeout_ms`` is SCORING_TIMEOUT_MS, which each worker keeps by itself; 0 is no limit."""

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
        self._limit_s = timeout_ms / 1000 + ALARM_GRACE_S if timeout_ms > 0 else None
        self._backoff_s = backoff_s
        self._alive: list[ScriptWorker] = []
        self._free: deque[WorkerLink] = deque()
        self._waiting: deque[tuple[Batch, Done, bool]] = deque()
        self._streaming = 0
        self._keepers: list[asyncio.Task[None]] = []
        self._broken: str | None = None
        self._unproved: str | None = None
        self._is_closed = False
        self._on_change: Callable[[], None] = lambda: None
        self.script: frames.Ready | None = None
        self.merging = Merging(False, "no worker is ready yet")
        self.restarts = 0

    def __repr__(self) -> str:
        return (
            f"<ScriptEngine alive={len(self._alive)} free={len(self._free)} "
            f"restarts={self.restarts}>"
        )

    @property
    def slots(self) -> int:
        """Workers alive and not busy with the rest of a stream."""
        return len(self._alive) - self._streaming

    @property
    def ready(self) -> bool:
        """Whether a worker is alive."""
        return bool(self._alive)

    @property
    def broken(self) -> str | None:
        """Why nobody can answer for now."""
        return self._broken

    @property
    def pids(self) -> list[int]:
        """The workers that have the script loaded, for logs and tests."""
        return [worker.pid for worker in self._alive]

    async def start(self, on_change: Callable[[], None]) -> None:
        """Start all workers; returns when every one is ready. Raises ScriptLoadError."""
        self._on_change = on_change
        loaded: list[asyncio.Future[frames.Ready]] = [
            asyncio.get_running_loop().create_future() for _ in range(self._count)
        ]
        self._keepers = [asyncio.create_task(self._keep(first)) for first in loaded]
        for first in loaded:  # the first failure is the answer; close() ends the others
            script = await first
            if self.script is None or not script.merging:
                self.merging = Merging(script.merging, self._unproved or script.merging_reason)
            self.script = script

    def run(self, batch: Batch, done: Done) -> None:
        """Give a batch to a free worker; if there is none (one has just died), to the next."""
        self._run(batch, done, retried=False)

    async def close(self) -> None:
        """End every worker. What they have, and what waits for one, is answered with
        UnavailableError."""
        self._is_closed = True
        self._refuse_waiting("the server has stopped")
        for keeper in self._keepers:
            keeper.cancel()
        await asyncio.gather(*self._keepers, return_exceptions=True)

    # What links tell

    def on_free(self, link: WorkerLink, *, after_stream: bool = False) -> None:
        """See LinkOwner."""
        self._streaming -= after_stream
        if self._waiting:
            batch, done, retried = self._waiting.popleft()
            link.run(batch, done, retried=retried)
        else:
            self._free.append(link)
        if after_stream:
            self._on_change()

    def on_stream(self) -> None:
        """See LinkOwner."""
        self._streaming += 1

    def on_lost(self, link: WorkerLink, *, in_stream: bool) -> None:
        """See LinkOwner."""
        self._streaming -= in_stream
        self._alive = [worker for worker in self._alive if worker.link is not link]
        if link in self._free:
            self._free.remove(link)
        if not self._is_closed:
            self._on_change()

    def on_unread(self, batch: Batch, done: Done) -> None:
        """See LinkOwner."""
        self._run(batch, done, retried=True)

    def _run(self, batch: Batch, done: Done, *, retried: bool) -> None:
        if self._free:
            self._free.popleft().run(batch, done, retried=retried)
        elif self._is_closed or (self._broken is not None and not self._alive):
            error = UnavailableError(self._broken or "the server has stopped")
            done([error] * len(batch))
        elif retried:
            self._waiting.appendleft((batch, done, retried))
        else:
            self._waiting.append((batch, done, retried))

    def _refuse_waiting(self, why: str) -> None:
        while self._waiting:
            batch, done, _ = self._waiting.popleft()
            done([UnavailableError(why)] * len(batch))

    # The workers' lives

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
            worker, script = await self._load()
        except ScriptLoadError as error:
            self._not_loaded(first, error)
            return False
        except (
            Exception
        ) as error:  # a bug of ours must not leave the place empty, or start() waiting
            logger.exception("a worker could not be started")
            self._not_loaded(first, ScriptLoadError("start", type(error).__name__))
            return False
        ready_at = asyncio.get_running_loop().time()
        try:
            if not first.done():
                first.set_result(script)
            self._admit(worker)
            await worker.gone()
            return asyncio.get_running_loop().time() - ready_at >= STEADY_S
        finally:
            code = await worker.stop()
            if not self._is_closed:
                had = f" while it had {worker.link.had} request(s)" if worker.link.had else ""
                logger.warning("worker %d %s%s; starting another", worker.pid, ending(code), had)

    def _admit(self, worker: ScriptWorker) -> None:
        self._broken = None
        if not worker.link.lost.is_set():
            self._alive.append(worker)
            self.on_free(worker.link)
        self._on_change()

    async def _load(self) -> tuple[ScriptWorker, frames.Ready]:
        """A worker with the script loaded. Raises ScriptLoadError."""
        while True:
            try:
                worker = await ScriptWorker.spawn(
                    self._environment, self, limit_s=self._limit_s, cwd=self._cwd
                )
            except OSError as error:
                reason = error.strerror or type(error).__name__
                raise ScriptLoadError("start", f"no process: {reason}") from error
            try:
                return worker, await worker.load()
            except ProofError as error:
                logger.warning("worker %d: %s; requests are not merged", worker.pid, error)
                self._unproved = str(error)
                self._environment = {**self._environment, "INFERRY_MERGE": "off"}
            except BaseException:
                await worker.stop()
                raise

    def _not_loaded(self, first: asyncio.Future[frames.Ready], error: ScriptLoadError) -> None:
        if not first.done():
            first.set_exception(error)
            return
        logger.error("a worker failed to load again (%s): %s", error.stage, error)
        if not self._alive:
            self._broken = "the scoring script fails to load; see the server's log"
            self._refuse_waiting(self._broken)
            self._on_change()
