"""Reads a request body within limits of size and time."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress

from starlette.types import Receive

from scoring.config import Limits

DRAIN_S = 2.0
DRAIN_BYTES = 256 * 1024 * 1024


class BodyTooLargeError(Exception):
    """The body has (or says it has) more than ``limit`` bytes."""

    def __init__(self, limit: int) -> None:
        super().__init__(f"the request body is larger than {limit} bytes")


class BodyTooSlowError(Exception):
    """The body did not arrive in its time."""


class ClientGoneError(Exception):
    """The client closed the connection before the body was complete: there is nobody to answer."""


async def read_body(
    receive: Receive,
    headers: Mapping[str, str],
    limits: Limits,
    clock: Callable[[], float] = time.monotonic,
) -> bytes:
    """The whole body. A Content-Length over the limit is refused before anything is read.

    Raises BodyTooLargeError, BodyTooSlowError or ClientGoneError."""
    if _declared(headers) > limits.body_bytes:
        raise BodyTooLargeError(limits.body_bytes)
    chunks: list[bytes] = []
    size, started = 0, clock()
    while True:
        allowed_s = limits.body_grace_s + size / limits.body_bytes_per_s
        try:
            async with asyncio.timeout(max(0.0, started + allowed_s - clock())):
                message = await receive()
        except TimeoutError:
            raise BodyTooSlowError("the request body came too slowly") from None
        if message["type"] == "http.disconnect":
            raise ClientGoneError
        chunk = message.get("body", b"")
        size += len(chunk)
        if size > limits.body_bytes:
            raise BodyTooLargeError(limits.body_bytes)
        chunks.append(chunk)
        if not message.get("more_body", False):
            return _join(chunks)


async def drain(receive: Receive) -> None:
    """Read and drop what the client still sends, for at most DRAIN_S seconds and DRAIN_BYTES:
    closing a connection with unread bytes resets it, and the client may never see the answer."""
    left = DRAIN_BYTES
    with suppress(TimeoutError):
        async with asyncio.timeout(DRAIN_S):
            while left > 0:
                message = await receive()
                if message["type"] == "http.disconnect" or not message.get("more_body", False):
                    return
                left -= len(message.get("body", b""))


def _declared(headers: Mapping[str, str]) -> int:
    text = headers.get("content-length", "")
    return int(text) if text.isascii() and text.isdigit() else 0


def _join(chunks: Iterable[bytes]) -> bytes:
    parts = [chunk for chunk in chunks if chunk]
    return parts[0] if len(parts) == 1 else b"".join(parts)
