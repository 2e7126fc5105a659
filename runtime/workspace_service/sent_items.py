"""Files of datastores on their way through the service: neither kept nor held whole by it."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import wait
from contextlib import AsyncExitStack
from typing import Any

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from runtime.datastores.errors import DamagedError, DatastoreError
from runtime.datastores.port import Item
from runtime.registry_service.byte_range import Span
from runtime.registry_service.protocol import EXTENSION, Body
from runtime.registry_service.refusals import GoneError
from runtime.registry_service.request_body import RequestBody
from runtime.registry_service.sending import STALL_S
from runtime.workspace_service.faults import Fault
from runtime.workspace_service.opened_datastores import OpenDatastore

PIECE_BYTES = 256 * 1024
LOOK_S = 1.0
"""How often a thread that waits for a client looks whether the service is still there."""


class ItemResponse(Response):
    """``span`` of a file. ``stack`` is ended with it, and holds the place that the datastore has
    for this request."""

    def __init__(
        self,
        store: OpenDatastore,
        item: Item,
        span: Span,
        stack: AsyncExitStack,
        status_code: int,
        headers: dict[str, str],
    ) -> None:
        super().__init__(None, status_code, headers, "application/octet-stream")
        self.headers["Content-Length"] = str(span.count)
        self._store = store
        self._item = item
        self._span = span
        self._stack = stack

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """As of an ASGI application. What cannot be sent whole is cut: its length is announced."""
        body: Body | None = scope.get("extensions", {}).get(EXTENSION)
        async with self._stack:
            start = {"type": "http.response.start", "status": self.status_code}
            await send({**start, "headers": self.raw_headers})
            chunks = self._chunks()
            try:
                async for chunk in chunks:
                    if body is not None and body.is_gone:
                        return
                    await _send(send, chunk)
            except (DatastoreError, TimeoutError):
                if body is None:
                    raise
                body.abort()
                return
            finally:
                await chunks.aclose()
            await send({"type": "http.response.body", "body": b""})

    async def _chunks(self) -> Any:
        """One is held back until the next is there, or the store has said that the file is still
        the same: who got all bytes got the right ones."""
        rest, held = self._span.count, b""
        found = self._store.files.read(self._item, self._span.offset)
        try:
            while rest > 0:
                chunk = await self._store.do(_following, found)
                if held:
                    yield held
                if not chunk:
                    break
                held = chunk[:rest]
                rest -= len(held)
            if rest > 0:
                raise DamagedError("the file ends too early")
            is_end = self._span.offset + self._span.count == self._item.size_bytes
            # At its end the store looks whether the file is still the one that it was.
            more = await self._store.do(_following, found) if is_end else b""
            if more:
                raise DamagedError("the file grew")
            if held:
                yield held
        finally:
            await self._store.do(_close, found)


class Arriving:
    """The body of a request as the chunks of a file, for the thread that writes it. ``advance`` is
    told of each; ``error`` is what ended it too early, whatever the store makes of that."""

    def __init__(
        self,
        body: RequestBody,
        size_bytes: int,
        sha256: str | None,
        advance: Callable[[int], None],
    ) -> None:
        self._pieces: AsyncIterator[bytes] = body.pieces()
        self._loop = asyncio.get_running_loop()
        self._size_bytes = size_bytes
        self._wanted = sha256
        self._advance = advance
        self._hashed = hashlib.sha256()
        self._came = 0
        self.error: BaseException | None = None

    @property
    def sha256(self) -> str:
        """Of what came."""
        return self._hashed.hexdigest()

    def chunks(self) -> Iterator[bytes]:
        """Once. Raises at their end when they are not those that were announced."""
        try:
            while piece := self._next():
                self._came += len(piece)
                if self._came > self._size_bytes:
                    raise Fault(400, "bad_value", "there are more bytes than the size says")
                self._hashed.update(piece)
                self._advance(len(piece))
                yield piece
            if self._came != self._size_bytes:
                raise Fault(400, "bad_value", "there are fewer bytes than the size says")
            if self._wanted is not None and self._wanted != self.sha256:
                raise DamagedError("the file did not arrive as its digest says; try again")
        except GeneratorExit:
            raise
        except BaseException as error:
            self.error = error
            raise

    def _next(self) -> bytes:
        async def following() -> bytes:
            return await anext(self._pieces, b"")

        coming = asyncio.run_coroutine_threadsafe(following(), self._loop)
        while True:
            done, _ = wait((coming,), timeout=LOOK_S)
            if done:
                return coming.result()
            if not self._loop.is_running():  # the service has ended
                raise GoneError


async def _send(send: Send, chunk: bytes) -> None:
    """Raises TimeoutError where the client takes nothing for STALL_S."""
    view = memoryview(chunk)
    for begin in range(0, len(chunk), PIECE_BYTES):
        piece = bytes(view[begin : begin + PIECE_BYTES])
        async with asyncio.timeout(STALL_S):
            await send({"type": "http.response.body", "body": piece, "more_body": True})


def _following(found: Iterator[bytes]) -> bytes:
    return next(found, b"")


def _close(found: Any) -> None:
    found.close()
