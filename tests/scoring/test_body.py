"""Reading a body within its limits."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

import pytest
from starlette.types import Message, Receive

from scoring.config import Limits
from scoring.http.body import (
    BodyTooLargeError,
    BodyTooSlowError,
    ClientGoneError,
    read_body,
)

LIMITS = Limits(body_bytes=10, body_grace_s=0.01, body_bytes_per_s=1000)


def _chunks(*chunks: bytes) -> list[Message]:
    last = len(chunks) - 1
    return [
        {"type": "http.request", "body": chunk, "more_body": n < last}
        for n, chunk in enumerate(chunks)
    ]


def _receive(messages: Iterable[Message]) -> Receive:
    waiting = list(messages)

    async def receive() -> Message:
        if not waiting:
            await asyncio.Event().wait()
        return waiting.pop(0)

    return receive


def test_chunks_are_joined() -> None:
    assert asyncio.run(read_body(_receive(_chunks(b"ab", b"", b"c")), {}, LIMITS)) == b"abc"


def test_a_declared_length_over_the_limit_is_refused_unread() -> None:
    receive = _receive([])  # reading would never return
    with pytest.raises(BodyTooLargeError, match="larger than 10 bytes"):
        asyncio.run(read_body(receive, {"content-length": "11"}, LIMITS))


def test_a_body_that_grows_over_the_limit_is_refused() -> None:
    with pytest.raises(BodyTooLargeError):
        asyncio.run(read_body(_receive(_chunks(b"123456", b"123456")), {}, LIMITS))


def test_a_body_that_stops_is_given_up() -> None:
    started = [{"type": "http.request", "body": b"1", "more_body": True}]
    with pytest.raises(BodyTooSlowError):
        asyncio.run(read_body(_receive(started), {}, LIMITS))


def test_a_client_that_leaves_is_noticed() -> None:
    with pytest.raises(ClientGoneError):
        asyncio.run(read_body(_receive([{"type": "http.disconnect"}]), {}, LIMITS))
