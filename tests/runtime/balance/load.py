"""Requests in a closed loop over some connections that stay open, each with an id of its own.

with Load(port, connections=8) as load:
    load.wait(lambda: len(load.results) > 100)
load.failed()
"""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

from benchmarks.wire import Answer, Client, Request

TIMEOUT_S = 45.0


@dataclass(frozen=True, slots=True)
class Result:
    """``status`` None: the connection was refused or ended without an answer."""

    id: str
    sent_s: float
    ended_s: float
    status: int | None
    replica: int | None


@dataclass(slots=True)
class Load:
    """``headers`` is asked anew for each request."""

    port: int
    connections: int = 8
    path: str = "/score"
    headers: Callable[[], dict[str, str]] = dict
    results: list[Result] = field(default_factory=list)
    is_stopping: bool = False
    _thread: threading.Thread | None = None

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()))
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.is_stopping = True
        assert self._thread is not None
        self._thread.join()

    def wait(self, holds: Callable[[], bool], timeout_s: float = TIMEOUT_S) -> None:
        """Until it holds; it is called again and again while requests go on."""
        wait_until(holds, timeout_s, lambda: self.failed()[:3])

    def wait_for(self, number: int) -> None:
        """Until so many more have been answered."""
        wanted = len(self.results) + number
        self.wait(lambda: len(self.results) >= wanted)

    def failed(self) -> list[Result]:
        """Those without a 200."""
        return [result for result in list(self.results) if result.status != 200]

    async def _run(self) -> None:
        await asyncio.gather(*(self._connection(at) for at in range(self.connections)))

    async def _connection(self, number: int) -> None:
        client, count = Client(), 0
        while not self.is_stopping:
            count += 1
            name, sent_s = f"{number}-{count}", time.monotonic()
            answer: Answer | None = None
            try:
                if not client.is_open:
                    client = await Client.open(self.port)
                request = Request(self.path, b"[1]", {"X-Id": name, **self.headers()})
                answer = await asyncio.wait_for(client.ask(request.bytes()), TIMEOUT_S)
            except (OSError, TimeoutError):
                client.close()
            status = answer.status if answer else None
            replica = json.loads(answer.body)["replica"] if answer and status == 200 else None
            self.results.append(Result(name, sent_s, time.monotonic(), status, replica))
            if status != 200:
                await asyncio.sleep(0.001)
        client.close()


def wait_until(
    holds: Callable[[], bool], timeout_s: float = TIMEOUT_S, why: Callable[[], object] = str
) -> None:
    """Raises AssertionError with ``why()`` when it does not in time."""
    deadline = time.monotonic() + timeout_s
    while not holds():
        assert time.monotonic() < deadline, why()
        time.sleep(0.005)
