"""Gathers what is logged at the same time: one transaction is written, and what comes meanwhile is
the next one. So a single client is answered as soon as its value is on the disk, and eight of them
share the disk's time. Belongs to one event loop.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import Executor

from registry.tracking.entries import Entry, Outcome
from registry.tracking.making import Making
from registry.tracking.records import RunRecord
from runtime.mlflow_service.refusals import RefusedError

AT_ONCE = 256
"""Entries of one transaction."""
Result = RunRecord | None
Waiting = tuple[Entry | Making, "asyncio.Future[Result]"]


class Ledger:
    """``write`` writes several entries, and is called by one thread at a time."""

    def __init__(
        self,
        write: Callable[[Sequence[Entry | Making]], Sequence[Outcome]],
        executor: Executor,
        most: int,
    ) -> None:
        self._write = write
        self._executor = executor
        self._most = most
        self._waiting: list[Waiting] = []
        self._writer: asyncio.Task[None] | None = None

    async def log(self, entry: Entry | Making) -> Result:
        """On the disk when it returns: the run, if one was made. Raises RegistryError for this
        entry, or what kept all of its transaction from being written."""
        if len(self._waiting) >= self._most:
            raise RefusedError(429, "REQUEST_LIMIT_EXCEEDED", "too much waits to be written")
        done: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        self._waiting.append((entry, done))
        if self._writer is None:
            self._writer = asyncio.create_task(self._work())
        return await done

    async def _work(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            while self._waiting:
                taken, self._waiting = self._waiting[:AT_ONCE], self._waiting[AT_ONCE:]
                outcomes: Sequence[Exception | Result]
                try:
                    entries = [entry for entry, _ in taken]
                    outcomes = await loop.run_in_executor(self._executor, self._write, entries)
                except Exception as error:
                    outcomes = [error] * len(taken)
                for (_, done), outcome in zip(taken, outcomes, strict=True):
                    _settle(done, outcome)
        finally:
            self._writer = None


def _settle(done: asyncio.Future[Result], outcome: Exception | Result) -> None:
    if done.done():  # its client has gone
        return
    if isinstance(outcome, Exception):
        done.set_exception(outcome)
    else:
        done.set_result(outcome)
