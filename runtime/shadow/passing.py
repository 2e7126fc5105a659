"""Passes the bytes of each connection on to the primary, and the primary's back, unchanged.

    passing = Passing("web.direct.sock", room, offer, dropped)
    server = await loop.create_unix_server(passing.connection, "web.mirror.sock")
    await passing.drained(60)

One connection there for each one here, so that what each side does, closing included, is done to
the other: whoever waits for an answer and goes away is gone for the primary, too. What is watched
has been passed on before, and nothing that goes wrong in watching reaches the bytes.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import time
from typing import cast

from runtime.balance.mirror import CHECK_PATH
from runtime.shadow.room import Room
from runtime.shadow.watch import DroppedBy, Offer, Watch

OPEN_S = 1.0
"""For HAProxy to take a connection: it may be about to start again."""
IDLE_S = 5.0
"""At the end: a connection without a request for so long is closed."""
_CHECK = f"GET {CHECK_PATH} ".encode()
_CHECKED = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
_AWAY = json.dumps({"error": "no replica can be reached"}).encode()
_UNREACHED = (
    b"HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/json\r\nretry-after: 1\r\n"
    b"content-length: %d\r\nconnection: close\r\n\r\n%b" % (len(_AWAY), _AWAY)
)


class Passing:
    """All connections of a mirror."""

    def __init__(self, path: str, room: Room, offer: Offer, dropped: DroppedBy) -> None:
        """``path``: of the primary's socket."""
        self.path = path
        self.open: set[_Client] = set()
        self._room, self._offer, self._dropped = room, offer, dropped
        self._numbers = itertools.count(1)

    def connection(self) -> asyncio.Protocol:
        """A new one."""
        return _Client(self)

    def watch(self) -> Watch:
        """Of a new one."""
        return Watch(
            self._room, self._offer, self._dropped, clock=time.monotonic, numbers=self._numbers
        )

    async def drained(self, timeout_s: float) -> None:
        """Requests that are under way end; connections without one are closed after a while."""
        deadline = time.monotonic() + timeout_s
        while self.open and time.monotonic() < deadline:
            for client in list(self.open):
                if not client.watch.is_busy and time.monotonic() - client.used_s > IDLE_S:
                    client.close()
            await asyncio.sleep(0.1)
        for client in list(self.open):
            client.close()


class _Side(asyncio.Protocol):
    """One of the two connections of a pair. It is not read while there is a reason to wait."""

    def __init__(self) -> None:
        self.transport: asyncio.Transport | None = None
        self._waits_for: set[str] = set()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)

    def wait(self, reason: str) -> None:
        """Read no more for now."""
        if not self._waits_for and self.transport is not None:
            with contextlib.suppress(RuntimeError):  # it is closing
                self.transport.pause_reading()
        self._waits_for.add(reason)

    def go_on(self, reason: str) -> None:
        """That is no reason any more."""
        self._waits_for.discard(reason)
        if not self._waits_for and self.transport is not None:
            with contextlib.suppress(RuntimeError):  # it is closing
                self.transport.resume_reading()

    def write(self, data: bytes) -> None:
        """To the other end of this connection."""
        if self.transport is not None:
            self.transport.write(data)

    def close(self) -> None:
        """Once what was written is sent."""
        if self.transport is not None:
            self.transport.close()


class _Client(_Side):
    """The side of whoever asks."""

    def __init__(self, passing: Passing) -> None:
        super().__init__()
        self._passing = passing
        self.watch = passing.watch()
        self.used_s = time.monotonic()
        self._primary: _Primary | None = None
        self._opening: asyncio.Task[None] | None = None
        self._early = bytearray()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._passing.open.add(self)

    def data_received(self, data: bytes) -> None:
        self.used_s = time.monotonic()
        if self._primary is not None:
            self._primary.write(data)
            self.watch.request(data)
            return
        if self._opening is None and data.startswith(_CHECK):
            self.write(_CHECKED)
            self.close()
            return
        self._early += data
        if self._opening is None:
            self.wait("opening")
            self._opening = asyncio.ensure_future(self._open())

    def connection_lost(self, exc: Exception | None) -> None:
        self._passing.open.discard(self)
        self.watch.end()
        if self._opening is not None:
            self._opening.cancel()
        if self._primary is not None and self._primary.transport is not None:
            self._primary.transport.abort()  # nobody reads its answer

    def pause_writing(self) -> None:
        if self._primary is not None:
            self._primary.wait("full")

    def resume_writing(self) -> None:
        if self._primary is not None:
            self._primary.go_on("full")

    async def _open(self) -> None:
        loop = asyncio.get_running_loop()
        deadline = time.monotonic() + OPEN_S
        while True:
            try:
                _, primary = await loop.create_unix_connection(
                    lambda: _Primary(self), self._passing.path
                )
                break
            except OSError:
                if time.monotonic() >= deadline:
                    self.write(_UNREACHED)
                    self.close()
                    return
                await asyncio.sleep(0.02)
        self._primary = primary
        data = bytes(self._early)
        self._early.clear()
        primary.write(data)
        self.watch.request(data)
        self.go_on("opening")


class _Primary(_Side):
    """The side of whoever answers."""

    def __init__(self, client: _Client) -> None:
        super().__init__()
        self._client = client

    def data_received(self, data: bytes) -> None:
        self._client.used_s = time.monotonic()
        self._client.write(data)
        self._client.watch.answer(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self._client.watch.end()
        self._client.close()

    def pause_writing(self) -> None:
        self._client.wait("full")

    def resume_writing(self) -> None:
        self._client.go_on("full")
