"""A server's connections over real sockets, with routes that the test answers and a clock that only
the test moves.

async with stand() as server:
    client = await server.connect()
    client.send(b"GET /quick HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n")
    assert (await client.answer()).status == 200
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from starlette.types import ASGIApp, Receive, Scope, Send

from scoring.config import Limits, ServerConfig
from scoring.http.answer import Answer, Headers, text_answer
from scoring.http.call import Call
from scoring.http.front import Front
from scoring.http.protocol import ScoringProtocol
from scoring.work import State, Work

PATIENCE_S = 45


class QuickRoute:
    """Answers at once with the size of the body; /loud with a megabyte for each byte of it."""

    def __init__(self, name: str) -> None:
        self.name = name

    def refuse_unread(self, call: Call) -> Answer | None:
        return None

    def begin(self, call: Call) -> None:
        if call.query == b"bug":
            raise KeyError("a bug")
        if self.name == "/loud":
            call.reply(text_answer("x" * 2**20 * len(call.body)))
        else:
            call.reply(text_answer(str(len(call.body))))


class Queue:
    """What a Call is dropped from."""

    def __init__(self) -> None:
        self.dropped: list[Any] = []

    def drop(self, work: Work[Any, Any]) -> bool:
        self.dropped.append(work)
        return True


class SlowRoute:
    """Keeps calls until the test answers; ``/slow`` stands in a queue until then."""

    name = "/slow"

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self.arrived = asyncio.Event()
        self.queue: Any = Queue()

    def refuse_unread(self, call: Call) -> Answer | None:
        return None

    def begin(self, call: Call) -> None:
        call.work = Work(None, lambda work, answer: None)
        call.work.state = State.WAITING
        call.dispatcher = self.queue
        self.calls.append(call)
        self.arrived.set()

    async def next(self) -> Call:
        """The oldest call that has no answer yet."""
        while not self.calls:
            self.arrived.clear()
            await asyncio.wait_for(self.arrived.wait(), PATIENCE_S)
        return self.calls.pop(0)


async def asgi(scope: Scope, receive: Receive, send: Send) -> None:
    """Answers with the size of the body."""
    message = await receive()
    body = b"asgi %d" % len(message.get("body", b""))
    head = [(b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": 200, "headers": head})
    await send({"type": "http.response.body", "body": body})


class FakeSite:
    """``/quick``, ``/loud`` and ``/slow`` below ASGI, everything else behind it."""

    def __init__(self) -> None:
        self.asgi: ASGIApp = asgi
        self.failed_headers: Headers = ()
        self.server_version: str | None = None
        self.slow = SlowRoute()
        self._routes = {"/quick": QuickRoute("/quick"), "/loud": QuickRoute("/loud")}

    def set_eager(self, is_eager: bool) -> None:
        """There is nothing to look for."""

    def match(self, method: str, path: str) -> SlowRoute | QuickRoute | None:
        return self.slow if path == "/slow" else self._routes.get(path)

    def refuse_unread(self, method: str, path: str) -> Answer:
        return text_answer("no body here")


@dataclass
class FakeLink:
    """Adds up what the supervisor would see."""

    received_bytes: int = 0
    written_bytes: int = 0
    busy: set[int] = field(default_factory=set)
    ended: list[tuple[str, int]] = field(default_factory=list)

    def received(self, slot: int, size_bytes: int) -> None:
        self.received_bytes += size_bytes
        self.busy.add(slot)

    def wrote(self, slot: int, size_bytes: int) -> None:
        self.written_bytes += size_bytes

    def answered(self, slot: int, size_bytes: int) -> None:
        self.written_bytes += size_bytes
        self.busy.discard(slot)

    def closed(self, slot: int) -> None:
        self.ended.append(("closed", slot))

    def released(self, slot: int) -> None:
        self.ended.append(("released", slot))


class FakeCounts:
    """Route and status of each answer."""

    def __init__(self) -> None:
        self.answers: list[tuple[str, int]] = []

    def answered(self, route: str, code: int, seconds: float) -> None:
        assert seconds >= 0
        self.answers.append((route, code))


@dataclass(frozen=True)
class Reply:
    """An answer as it came."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes

    def header(self, name: str) -> str | None:
        """The only header of that name (lower case)."""
        values = [value for key, value in self.headers if key == name]
        assert len(values) <= 1, values
        return values[0] if values else None


class Client:
    """One connection's other end."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self.sent_bytes = 0
        self.read_bytes = 0

    def send(self, data: bytes) -> None:
        self.sent_bytes += len(data)
        self.writer.write(data)

    async def answer(self) -> Reply:
        """The next one, whole."""
        async with asyncio.timeout(PATIENCE_S):
            head = await self.reader.readuntil(b"\r\n\r\n")
            lines = head[:-4].decode("latin-1").split("\r\n")
            pairs = [line.split(": ", 1) for line in lines[1:]]
            headers = [(name.lower(), value) for name, value in pairs]
            body = await self.reader.readexactly(int(dict(headers).get("content-length", 0)))
        self.read_bytes += len(head) + len(body)
        return Reply(int(lines[0].split()[1]), headers, body)

    async def rest(self) -> bytes:
        """Everything until the server closes."""
        data = await asyncio.wait_for(self.reader.read(), PATIENCE_S)
        self.read_bytes += len(data)
        return data

    def close(self) -> None:
        self.writer.close()


class Stand:
    """All of it, and the port it listens on."""

    def __init__(self, config: ServerConfig) -> None:
        self.seconds = 1000.0
        self.site = FakeSite()
        self.link = FakeLink()
        self.counts = FakeCounts()
        self.front = Front(self.site, config, self.counts, self.link, lambda: self.seconds)
        self.port = 0
        self._slots = 0
        self.clients: list[Client] = []

    def protocol(self) -> ScoringProtocol:
        """Of a connection that was accepted."""
        self._slots += 1
        return ScoringProtocol(self.front, asyncio.get_running_loop(), self._slots - 1)

    async def connect(self, receive_buffer_bytes: int | None = None) -> Client:
        """A new connection, which the server has seen."""
        before = self._slots
        connection = socket.socket()
        if receive_buffer_bytes is not None:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer_bytes)
        connection.setblocking(False)
        await asyncio.get_running_loop().sock_connect(connection, ("127.0.0.1", self.port))
        reader, writer = await asyncio.open_connection(sock=connection)
        while self._slots == before:
            await asyncio.sleep(0)
        self.clients.append(Client(reader, writer))
        return self.clients[-1]

    async def settle(self) -> None:
        """Until both ends have read what was sent to them before."""
        for _ in range(20):
            await asyncio.sleep(0)
        await asyncio.sleep(0.002)

    async def after(self, seconds: float) -> None:
        """Let time pass, and the server look at its connections."""
        await self.settle()
        self.seconds += seconds
        self.front.now = self.seconds
        for connection in list(self.front.connections):
            connection.sweep(self.seconds)
        await self.settle()

    async def close(self) -> None:
        for client in self.clients:
            client.close()
            with contextlib.suppress(OSError):
                await client.writer.wait_closed()
        while self.front.connections:
            await asyncio.sleep(0)


@contextlib.asynccontextmanager
async def stand(limits: Limits | None = None, **options: Any) -> AsyncIterator[Stand]:
    """A server that listens."""
    config = ServerConfig(what=Path("nothing"), limits=limits or Limits(), **options)
    served = Stand(config)
    server = await asyncio.get_running_loop().create_server(served.protocol, "127.0.0.1", 0)
    served.port = server.sockets[0].getsockname()[1]
    try:
        yield served
    finally:
        await served.close()
        server.close()
        await server.wait_closed()
