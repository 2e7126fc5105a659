"""A body that comes too slowly is given up, however steadily it drips."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest
from starlette.types import Message

from runtime.registry_service.refusals import SlowBodyError
from runtime.registry_service.request_body import (
    BODY_S,
    DOCUMENT_S,
    LEAST_BYTES,
    STALL_S,
    RequestBody,
)


class Client:
    """Sends pieces of one size, each so many seconds after it is asked, by a clock of its own."""

    def __init__(self, pieces: int, piece_bytes: int, each_s: float) -> None:
        self.now_s = 0.0
        self._each_s = each_s
        self._pieces = iter(range(pieces - 1, -1, -1))
        self._bytes = bytes(piece_bytes)

    async def receive(self) -> Message:
        """As of ASGI."""
        self.now_s += self._each_s
        left = next(self._pieces)
        return {"type": "http.request", "body": self._bytes, "more_body": left > 0}

    def body(self) -> RequestBody:
        """What it sends."""
        return RequestBody(self.receive, size=None, is_awaited=False, clock=lambda: self.now_s)


def _read(client: Client, busy_s: float = 0.0) -> int:
    async def read() -> int:
        count, body = 0, client.body()
        while not body.is_read:
            count += len(await body.next())
            client.now_s += busy_s
        return count

    return asyncio.run(read())


def test_a_byte_every_ten_seconds_is_given_up_after_a_minute() -> None:
    client = Client(1000, 1, 10.0)
    with pytest.raises(SlowBodyError):
        _read(client)
    assert STALL_S <= client.now_s <= 2 * STALL_S


def test_a_fast_beginning_buys_no_slow_end() -> None:
    def pieces() -> Iterator[tuple[int, float]]:
        yield from [(10 * LEAST_BYTES, 1.0)] * 60
        yield from [(1, 10.0)] * 100

    sent, client = pieces(), Client(0, 0, 0)

    async def receive() -> Message:
        size, took_s = next(sent)
        client.now_s += took_s
        return {"type": "http.request", "body": bytes(size), "more_body": True}

    client.receive = receive  # type: ignore[method-assign]
    with pytest.raises(SlowBodyError):
        _read(client)
    assert client.now_s <= 60 + 2 * STALL_S


def test_a_link_of_two_kilobytes_a_second_is_quick_enough() -> None:
    assert _read(Client(500, 20_480, 10.0)) == 500 * 20_480


def test_what_the_service_takes_for_itself_does_not_count() -> None:
    assert _read(Client(100, 1, 0.1), busy_s=30.0) == 100


def test_the_last_piece_is_taken_however_late() -> None:
    assert _read(Client(2, 1, 59.0)) == 2


def test_a_document_has_a_total_time_however_steadily_it_comes() -> None:
    client = Client(1000, 20_480, 10.0)
    with pytest.raises(SlowBodyError):
        asyncio.run(client.body().all(2**30, "a document"))
    assert DOCUMENT_S < client.now_s <= DOCUMENT_S + 10


def test_so_has_an_upload_and_what_came_until_then_is_given_on() -> None:
    client = Client(10_000, 20_480, 10.0)
    came = 0

    async def read() -> None:
        nonlocal came
        async for piece in client.body().pieces():
            came += len(piece)

    with pytest.raises(SlowBodyError):
        asyncio.run(read())
    assert BODY_S < client.now_s <= BODY_S + 10
    assert came == int(BODY_S / 10) * 20_480


def test_the_time_in_all_is_that_of_the_client_alone() -> None:
    assert _read(Client(1000, LEAST_BYTES, 1.0), busy_s=60.0) == 1000 * LEAST_BYTES
