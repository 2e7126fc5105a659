"""A closed loop of clients that check every answer and note what became of every request.

async with FaultLoad(port, requests, is_right, clients=32) as load:
    ...                          # kill something
load.events, load.under_way
"""

from __future__ import annotations

import asyncio
import contextlib
import enum
import random
import statistics
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from benchmarks.wire import Answer, Client

BIN_S = 0.05
FULL = 0.9
SUSTAINED_BINS = 3
RETRY_S = 0.01


class Fate(enum.Enum):
    """What becomes of a request."""

    RIGHT = "right"
    WRONG = "wrong answer"
    CUT = "connection ended without an answer"
    STATUS = "another status than 200"
    REFUSED = "connection refused"


@dataclass(frozen=True, slots=True)
class Event:
    """One request's end."""

    at_s: float
    sent_s: float
    fate: Fate
    status: int = 0
    port: int = 0
    """The client's."""


IsRight = Callable[[int, bytes], bool]


class FaultLoad:
    """Each client sends a random one of the requests, again and again, until the block ends."""

    def __init__(
        self, port: int, requests: Sequence[bytes], is_right: IsRight, clients: int
    ) -> None:
        self.events: list[Event] = []
        self.under_way: set[int] = set()
        """The clients' ports whose requests are being answered."""
        self._port = port
        self._requests = requests
        self._is_right = is_right
        self._clients = clients
        self._is_stopped = False
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Self:
        self._tasks = [asyncio.create_task(self._loop(seed)) for seed in range(self._clients)]
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._is_stopped = True
        await asyncio.wait(self._tasks, timeout=5)
        for task in self._tasks:
            task.cancel()
        for result in await asyncio.gather(*self._tasks, return_exceptions=True):
            if isinstance(result, Exception):
                raise result

    async def _loop(self, seed: int) -> None:
        source, client = random.Random(seed), None
        while not self._is_stopped:
            if client is None or not client.is_open:
                client = await self._open()
                if client is None:
                    continue
            index = source.randrange(len(self._requests))
            port, sent_s = client.port, time.monotonic()
            self.under_way.add(port)
            answer = await client.ask(self._requests[index])
            self.under_way.discard(port)
            fate, status = self._judge(index, answer)
            self.events.append(Event(time.monotonic(), sent_s, fate, status, port))
            if fate is not Fate.RIGHT:
                await asyncio.sleep(RETRY_S)
        if client is not None:
            client.close()

    async def _open(self) -> Client | None:
        began_s = time.monotonic()
        with contextlib.suppress(OSError):
            return await Client.open(self._port)
        self.events.append(Event(time.monotonic(), began_s, Fate.REFUSED))
        await asyncio.sleep(RETRY_S)
        return None

    def _judge(self, index: int, answer: Answer | None) -> tuple[Fate, int]:
        if answer is None:
            return Fate.CUT, 0
        if answer.status != 200:
            return Fate.STATUS, answer.status
        return (Fate.RIGHT if self._is_right(index, answer.body) else Fate.WRONG), 200


def counts(events: Sequence[Event], since_s: float = 0.0) -> Counter[str]:
    """How often which fate, with the statuses."""
    return Counter(
        f"status {event.status}" if event.fate is Fate.STATUS else event.fate.value
        for event in events
        if event.at_s >= since_s
    )


def failed(events: Sequence[Event], since_s: float = 0.0, until_s: float = 1e300) -> list[Event]:
    """Requests that got no right answer although their connection stood."""
    fates = (Fate.WRONG, Fate.CUT, Fate.STATUS)
    return [event for event in events if event.fate in fates and since_s <= event.at_s < until_s]


def recovery_s(events: Sequence[Event], steady_s: tuple[float, float], fault_s: float) -> float:
    """Seconds from the fault until the rate is back at 90 % of the steady one and stays there for
    three bins of 50 ms; infinite where it does not come back before the next second is over."""
    bins = Counter(int((e.at_s - fault_s) // BIN_S) for e in events if e.fate is Fate.RIGHT)
    first, last = (int((at_s - fault_s) // BIN_S) for at_s in steady_s)
    steady = statistics.median(bins[n] for n in range(first + 1, last))
    final = max(bins, default=0)
    for n in range(final - SUSTAINED_BINS + 1):
        window = [bins[n + i] for i in range(SUSTAINED_BINS)]
        if sum(window) >= FULL * steady * SUSTAINED_BINS:
            return n * BIN_S
    return float("inf")
