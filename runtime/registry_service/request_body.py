"""The body of a request, bounded in time; knows whether all of it was read."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable

from starlette.types import Message, Receive

from registry.distribution.errors import TooLargeError
from runtime.registry_service.refusals import GoneError, SlowBodyError

STALL_S = 60.0
LEAST_BYTES = 60 * 1024
"""In STALL_S of waiting for them: 1 KiB/s, which the worst of links has. Who sends less holds a
connection for nothing."""
DOCUMENT_S = 600.0
"""Of waiting for a body that is read whole, in all: 28 KB/s for the largest."""
BODY_S = 6 * 3600.0
"""Of waiting for any other. What came of an upload stays, and the next request goes on from there,
so a slow link loses nothing; a client that drips is gone within the day."""
DRAIN_S = 2.0
DRAIN_BYTES = 16 * 1024 * 1024
PIECE_BYTES = 1024 * 1024


class RequestBody:
    """Read at most once."""

    def __init__(
        self,
        receive: Receive,
        *,
        size: int | None,
        is_awaited: bool,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._receive = receive
        self._clock = clock
        self._waited_s = 0.0
        self._came = 0
        self._waited_in_all_s = 0.0
        self._most_s = BODY_S
        self.size = size
        """The Content-Length; None when it is not said."""
        self._is_awaited = is_awaited
        """Whether the client waits for our consent (Expect: 100-continue)."""
        self.is_read = False

    async def pieces(self) -> AsyncIterator[bytes]:
        """The body in pieces worth a write; what came before a cut, too. Raises GoneError,
        SlowBodyError."""
        held = bytearray()
        while not self.is_read:
            try:
                held += await self.next()
            except (GoneError, SlowBodyError):
                if held:
                    yield bytes(held)
                raise
            if len(held) >= PIECE_BYTES:
                yield bytes(held)
                held = bytearray()
        if held:
            yield bytes(held)

    async def all(self, limit: int, what: str) -> bytes:
        """All of a small body. Raises TooLargeError, GoneError, SlowBodyError."""
        if self.size is not None and self.size > limit:
            raise TooLargeError(what, limit)
        self._most_s = DOCUMENT_S
        data = bytearray()
        while not self.is_read:
            data += await self.next()
            if len(data) > limit:
                raise TooLargeError(what, limit)
        return bytes(data)

    async def drain(self) -> bool:
        """Read on after a refusal, so that a client that is still sending sees the answer; whether
        the connection can go on."""
        if self._is_awaited and not self.is_read:
            return False
        rest = DRAIN_BYTES
        try:
            async with asyncio.timeout(DRAIN_S):
                while not self.is_read and rest > 0:
                    rest -= len(await self.next())
        except (GoneError, SlowBodyError, TimeoutError):
            return False
        return self.is_read

    async def next(self) -> bytes:
        """What comes next, maybe nothing. Raises GoneError, and SlowBodyError for a client that is
        silent, sends less than LEAST_BYTES in STALL_S, or takes too long in all."""
        asked_s = self._clock()
        try:
            async with asyncio.timeout(STALL_S):
                message: Message = await self._receive()
        except TimeoutError:
            raise SlowBodyError from None
        self._is_awaited = False
        if message["type"] == "http.disconnect":
            raise GoneError
        self.is_read = not message.get("more_body", False)
        body: bytes = message.get("body", b"")
        self._check_rate(self._clock() - asked_s, len(body))
        return body

    def _check_rate(self, waited_s: float, came: int) -> None:
        """Only waiting for the client counts, not what is done with its bytes."""
        self._waited_s += waited_s
        self._waited_in_all_s += waited_s
        self._came += came
        if self.is_read:
            return
        if self._waited_in_all_s > self._most_s:
            raise SlowBodyError
        if self._waited_s < STALL_S:
            return
        if self._came < LEAST_BYTES:
            raise SlowBodyError
        self._waited_s, self._came = 0.0, 0
