"""The smallest HTTP/1.1 client that measures honestly: keep-alive, one request at a time on each
connection, no work between the bytes and the clock.

    client = await Client.open(port)
    answer = await client.ask(request.bytes())      # None: the connection ended without an answer
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Self, cast

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)\r\n", re.I)
_CLOSE = re.compile(rb"\r\nconnection: *close\r\n", re.I)


@dataclass(frozen=True, slots=True)
class Request:
    """A POST, or a GET where there is no body."""

    path: str
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)

    def bytes(self) -> bytes:
        """As it goes over the wire."""
        lines = [f"{'POST' if self.body else 'GET'} {self.path} HTTP/1.1", "Host: 127.0.0.1"]
        lines += [f"{name}: {value}" for name, value in self.headers.items()]
        if self.body:
            lines.append(f"Content-Length: {len(self.body)}")
        return "\r\n".join([*lines, "", ""]).encode() + self.body


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole response. ``closes``: the server will close the connection now."""

    status: int
    body: bytes
    closes: bool


Then = Callable[[Answer | None], None]


class Client(asyncio.Protocol):
    """One connection."""

    def __init__(self) -> None:
        self.is_open = False
        self.was_cut = False
        """An answer had begun when the connection ended."""
        self._received = bytearray()
        self._then: Then | None = None
        self._transport: asyncio.Transport | None = None

    @classmethod
    async def open(cls, port: int) -> Self:
        """Raises OSError when the connection is refused."""
        loop = asyncio.get_running_loop()
        return (await loop.create_connection(cls, "127.0.0.1", port))[1]

    @property
    def port(self) -> int:
        """The local one; 0 before there is any."""
        address = self._transport.get_extra_info("sockname") if self._transport else None
        return int(address[1]) if address else 0

    def send(self, request: bytes, then: Then) -> None:
        """Calls ``then`` with the answer, or with None when the connection ends before it."""
        if self._transport is None or not self.is_open:
            then(None)
            return
        self._then = then
        self._transport.write(request)

    async def ask(self, request: bytes) -> Answer | None:
        """Sends and waits."""
        answered: asyncio.Future[Answer | None] = asyncio.get_running_loop().create_future()
        self.send(request, answered.set_result)
        return await answered

    def close(self) -> None:
        """Ends the connection."""
        self.is_open = False
        if self._transport is not None:
            self._transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """asyncio calls it."""
        self._transport = cast(asyncio.Transport, transport)
        self.is_open = True

    def connection_lost(self, exc: Exception | None) -> None:
        """asyncio calls it."""
        self.is_open = False
        self.was_cut = bool(self._received)
        self._finish(None)

    def data_received(self, data: bytes) -> None:
        """asyncio calls it."""
        self._received += data
        end = self._received.find(b"\r\n\r\n")
        if end < 0:
            return
        head = bytes(self._received[: end + 2])
        length = _LENGTH.search(head)
        if length is None:
            raise ValueError(f"an answer without Content-Length: {head!r}")
        whole = end + 4 + int(length[1])
        if len(self._received) < whole:
            return
        body = bytes(self._received[end + 4 : whole])
        del self._received[:whole]
        closes = _CLOSE.search(head) is not None
        if closes:
            self.close()
        self._finish(Answer(int(head[9:12]), body, closes))

    def _finish(self, answer: Answer | None) -> None:
        then, self._then = self._then, None
        if then is not None:
            then(answer)
