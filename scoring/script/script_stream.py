"""A reply that comes in pieces: from the worker's socket to whoever sends it on, at their pace.

The worker's side of it, ``Feed``, is filled by the socket; the reader's side, ``ScriptStream``, is
the body of a ScriptReply. Dropping the stream unread, or closing it early, gives up the worker.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

from scoring.errors import EngineError

HIGH_WATER_BYTES = 256 * 1024
"""With so much waiting, nothing more is read from the worker's socket, so it stops producing."""


class Feed:
    """What has arrived of one stream and was not read yet."""

    def __init__(self, transport: asyncio.ReadTransport, on_abandoned: Callable[[], None]) -> None:
        self._transport = transport
        self._on_abandoned = on_abandoned
        self._chunks: deque[bytes] = deque()
        self._bytes = 0
        self._is_paused = False
        self._is_over = False
        self._is_broken = False
        self._reader: asyncio.Future[None] | None = None

    def push(self, chunk: bytes) -> None:
        """One more piece, from the socket."""
        self._chunks.append(chunk)
        self._bytes += len(chunk)
        if self._bytes > HIGH_WATER_BYTES and not self._is_paused:
            self._is_paused = True
            self._transport.pause_reading()
        self._wake()

    def end(self, *, broken: bool) -> None:
        """No more pieces; ``broken``: this is not all of the body. Idempotent."""
        if not self._is_over:
            self._is_over, self._is_broken = True, broken
            self._wake()

    def flush(self) -> None:
        """Read on whatever waits: the worker has ended, what is left of it is in the socket."""
        if self._is_paused and not self._is_over:
            self._is_paused = False
            self._transport.resume_reading()

    def abandon(self) -> None:
        """Nobody reads on. Idempotent."""
        self._chunks.clear()
        if not self._is_over:
            self.end(broken=True)
            self._on_abandoned()

    async def next(self) -> bytes:
        """The next piece. Raises StopAsyncIteration at the end, EngineError where it broke off."""
        while not self._chunks:
            if self._is_broken:
                raise EngineError("the stream broke off")
            if self._is_over:
                raise StopAsyncIteration
            self._reader = asyncio.get_running_loop().create_future()
            await self._reader
        chunk = self._chunks.popleft()
        self._bytes -= len(chunk)
        if self._is_paused and self._bytes <= HIGH_WATER_BYTES // 2 and not self._is_over:
            self._is_paused = False
            self._transport.resume_reading()
        return chunk

    def _wake(self) -> None:
        if self._reader is not None and not self._reader.done():
            self._reader.set_result(None)


class ScriptStream:
    """An asynchronous iterator over the pieces; has ``aclose`` as a generator has."""

    def __init__(self, feed: Feed) -> None:
        self._feed = feed

    def __aiter__(self) -> ScriptStream:
        return self

    async def __anext__(self) -> bytes:
        return await self._feed.next()

    async def aclose(self) -> None:
        """Give up the rest, if there is any."""
        self._feed.abandon()

    def __del__(self) -> None:
        self._feed.abandon()
