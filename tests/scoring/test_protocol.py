"""The bounds on a request's head, over real sockets."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest
import uvicorn
from starlette.types import Receive, Scope, Send

from scoring.http.protocol import BoundedProtocol

OK = b"HTTP/1.1 200 OK"


class _Hasty(BoundedProtocol):
    head_bytes_limit = 2000
    head_s = 0.3


async def _app(scope: Scope, receive: Receive, send: Send) -> None:
    size = 0
    while True:
        message = await receive()
        size += len(message.get("body", b""))
        if not message.get("more_body", False):
            break
    await asyncio.sleep(0.5 if scope["path"] == "/slow" else 0)
    body = str(size).encode()
    head = [(b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": head})
    await send({"type": "http.response.body", "body": body})


@contextlib.asynccontextmanager
async def _server() -> AsyncIterator[int]:
    config = uvicorn.Config(_app, http=_Hasty, port=0, lifespan="off", log_config=None)
    server = uvicorn.Server(config)
    server.capture_signals = contextlib.nullcontext  # type: ignore[method-assign, assignment]
    serving = asyncio.create_task(server.serve())
    while not server.started:
        await asyncio.sleep(0.01)
    yield server.servers[0].sockets[0].getsockname()[1]
    server.should_exit = True
    await serving


def _answer(*pieces: bytes, pause_s: float = 0) -> bytes:
    """What the server sends until it closes, or until one whole answer is there."""

    async def talk() -> bytes:
        async with _server() as port:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            for piece in pieces:
                writer.write(piece)
                await asyncio.sleep(pause_s)
            answer = await asyncio.wait_for(reader.read(65536), 10)
            writer.close()
            return answer

    return asyncio.run(talk())


def test_a_head_over_the_limit_is_refused_though_it_never_ends() -> None:
    endless = _answer(b"GET / HTTP/1.1\r\nx: ", b"a" * 3000)
    assert endless.startswith(b"HTTP/1.1 431 ")
    assert b'{"message": "the request\'s head is too large"}' in endless


def test_many_small_headers_count_together() -> None:
    lines = b"".join(b"x-%d: y\r\n" % number for number in range(400))
    halves = lines[:1500], lines[1500:]
    assert _answer(b"GET / HTTP/1.1\r\n", *halves, pause_s=0.05).startswith(b"HTTP/1.1 431 ")


@pytest.mark.slow
def test_a_head_that_does_not_end_in_time_is_given_up() -> None:
    assert _answer(b"GET / HTT").startswith(b"HTTP/1.1 408 ")
    assert _answer().startswith(b"HTTP/1.1 408 ")


def test_bodies_do_not_count_as_heads() -> None:
    head = b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 9000\r\n\r\n"
    answer = _answer(head, b"b" * 4000, b"b" * 5000)
    assert answer.startswith(OK)
    assert answer.endswith(b"9000")


def test_the_next_request_of_a_connection_has_a_head_of_its_own() -> None:
    request = b"GET / HTTP/1.1\r\nhost: x\r\nx: " + b"a" * 1500 + b"\r\n\r\n"
    assert _answer(request, request, request, pause_s=0.1).count(OK) == 3


@pytest.mark.slow
def test_a_late_second_head_does_not_cut_the_answer_before_it() -> None:
    slow = b"GET /slow HTTP/1.1\r\nhost: x\r\n\r\n"
    assert _answer(slow, b"GET / HT", pause_s=0.05).startswith(OK)
