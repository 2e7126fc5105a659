"""Requests at a fixed rate, whatever becomes of those before, from a process of its own.

    with Traffic(Sending(port, [Asked(request, right)], [Rate(100.0)]), scratch) as traffic:
        ...                            # kill something
    traffic.requests                   # what became of each; times are of time.monotonic()

A request goes out on a connection that is free, else on a new one, so one that is not answered
holds no other up. Times count from when a request was due. It is a process of its own, as what is
done meanwhile (starting commands, reading the workspace) would delay it.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

import msgspec
import uvloop

from benchmarks.wire import Answer, Client

TICK_S = 0.001
DEADLINE_S = 30.0
"""Who has no answer by then has none."""
START_S = 30.0
MOST_CONNECTIONS = 5000
_REVISION = re.compile(rb'"revision": ?(\d+)')
RIGHT, WRONG, CUT, REFUSED, LATE, UNSENT = (
    "right",
    "wrong answer",
    "connection ended without an answer",
    "connection refused",
    f"no answer within {DEADLINE_S:g} s",
    "not sent: too many connections",
)


class Asked(msgspec.Struct, frozen=True):
    """A request as it goes over the wire, and what a right answer has in it (a regular expression
    of bytes)."""

    request: bytes
    right: bytes


class Rate(msgspec.Struct, frozen=True):
    """Requests a second, for so long; the last one until it is told to stop."""

    rate: float
    seconds: float = 1e9


class Sending(msgspec.Struct, frozen=True):
    """What to send where; each request in turn."""

    port: int
    asked: list[Asked]
    rates: list[Rate]


class Done(msgspec.Struct, frozen=True, array_like=True):
    """One request: when it was due, sent and over, what became of it, and the revision that
    answered, where the answer says it (0: it does not)."""

    due_s: float
    sent_s: float
    ended_s: float
    fate: str
    revision: int = 0

    @property
    def took_s(self) -> float:
        """From when it was due."""
        return self.ended_s - self.due_s


class Traffic:
    """The process that sends, as the one that measures has it."""

    def __init__(self, sending: Sending, scratch: Path) -> None:
        self.requests: list[Done] = []
        self.began_s = 0.0
        self._sending, self._path = sending, scratch / "traffic"
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        plan = self._path.with_suffix(".plan")
        plan.write_bytes(msgspec.msgpack.encode(self._sending))
        words = ["-m", "benchmarks.deployments.traffic", str(plan), str(self._path)]
        command = [sys.executable, *words]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=Path(__file__).parents[2]
        )
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            self._process.wait()
            raise RuntimeError("the traffic did not start")
        self.began_s = float(line)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        assert self._process is not None
        with self._process as process:
            assert process.stdin is not None
            with contextlib.suppress(BrokenPipeError):
                process.stdin.close()  # it stops, and writes
            process.wait(DEADLINE_S + START_S)
        if self._path.exists():
            self.requests = msgspec.msgpack.decode(self._path.read_bytes(), type=list[Done])
            self._path.unlink()


class _Sender:
    def __init__(self, sending: Sending) -> None:
        self.done: list[Done] = []
        self._sending = sending
        self._turn = itertools.cycle(sending.asked)
        self._idle: list[Client] = []
        self._under_way: dict[int, tuple[float, float]] = {}
        self._numbers = itertools.count()
        self._opening: set[asyncio.Task[None]] = set()

    async def run(self, began_s: float, stopped: asyncio.Event) -> None:
        for due_s in _due(self._sending.rates, began_s):
            while time.monotonic() < due_s and not stopped.is_set():
                await asyncio.sleep(min(TICK_S, max(0.0, due_s - time.monotonic())))
            if stopped.is_set():
                break
            self._send(due_s)
        await stopped.wait()
        end_s = time.monotonic() + DEADLINE_S
        while (self._under_way or self._opening) and time.monotonic() < end_s:
            await asyncio.sleep(0.01)
        for due_s, sent_s in self._under_way.values():
            self.done.append(Done(due_s, sent_s, time.monotonic(), LATE))
        for client in self._idle:
            client.close()

    def _send(self, due_s: float) -> None:
        asked = next(self._turn)
        while self._idle:
            client = self._idle.pop()
            if client.is_open:
                self._ask(client, asked, due_s)
                return
        if len(self._under_way) >= MOST_CONNECTIONS:
            self.done.append(Done(due_s, due_s, due_s, UNSENT))
            return
        task = asyncio.create_task(self._open_and_ask(asked, due_s))
        self._opening.add(task)
        task.add_done_callback(self._opening.discard)

    async def _open_and_ask(self, asked: Asked, due_s: float) -> None:
        sent_s = time.monotonic()
        try:
            client = await Client.open(self._sending.port)
        except OSError:
            self.done.append(Done(due_s, sent_s, time.monotonic(), REFUSED))
            return
        self._ask(client, asked, due_s)

    def _ask(self, client: Client, asked: Asked, due_s: float) -> None:
        number, sent_s = next(self._numbers), time.monotonic()
        self._under_way[number] = due_s, sent_s

        def then(answer: Answer | None) -> None:
            del self._under_way[number]
            fate, revision = _judged(asked, answer)
            self.done.append(Done(due_s, sent_s, time.monotonic(), fate, revision))
            if client.is_open:
                self._idle.append(client)

        client.send(asked.request, then)


def _judged(asked: Asked, answer: Answer | None) -> tuple[str, int]:
    if answer is None:
        return CUT, 0
    found = _REVISION.search(answer.body)
    revision = int(found[1]) if found else 0
    if answer.status != 200:
        return f"status {answer.status}", revision
    return (RIGHT if re.search(asked.right, answer.body) else WRONG), revision


def _due(rates: list[Rate], began_s: float) -> Iterator[float]:
    for each in rates:
        count = int(each.rate * each.seconds) if each.seconds < 1e8 else None
        for number in itertools.count() if count is None else range(count):
            yield began_s + number / each.rate
        began_s += each.seconds


async def _main(sending: Sending, path: Path) -> None:
    sender, stopped, loop = _Sender(sending), asyncio.Event(), asyncio.get_running_loop()

    def read() -> None:
        if not os.read(0, 1):
            loop.remove_reader(0)
            stopped.set()

    loop.add_reader(0, read)
    began_s = time.monotonic() + 0.01
    print(began_s, flush=True)
    await sender.run(began_s, stopped)
    path.write_bytes(msgspec.msgpack.encode(sender.done))


if __name__ == "__main__":
    uvloop.run(
        _main(
            msgspec.msgpack.decode(Path(sys.argv[1]).read_bytes(), type=Sending), Path(sys.argv[2])
        )
    )
