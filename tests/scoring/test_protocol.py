"""The bounds of a connection, over real sockets: heads, bodies, idleness, clients that do not read.

What is HTTP and what is not is in tests/system/test_http_*.py, against whole servers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from scoring.config import Limits
from scoring.http.answer import Answer, text_answer
from scoring.http.protocol import LINGER_S
from tests.scoring.stand import Stand, stand

HEAD = b"POST /quick HTTP/1.1\r\nHost: x\r\n"
GET = b"GET /quick HTTP/1.1\r\nHost: x\r\n\r\n"
SLOW = b"GET /slow HTTP/1.1\r\nHost: x\r\n\r\n"


def _with(scenario: Callable[[Stand], Awaitable[None]], **limits: Any) -> None:
    async def run() -> None:
        async with stand(Limits(**limits)) as server:
            await scenario(server)

    asyncio.run(run())


def _post(body: bytes, path: bytes = b"/quick") -> bytes:
    return b"POST %b HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%b" % (path, len(body), body)


def test_requests_below_and_behind_asgi_take_turns_on_one_connection() -> None:
    async def scenario(server: Stand) -> None:
        client = await server.connect()
        for path, body in ((b"/quick", b"5"), (b"/else", b"asgi 5"), (b"/quick", b"5")):
            client.send(_post(b"hello", path))
            assert (await client.answer()).body == body
        client.send(_post(b"hello", b"/else") * 2 + GET + _post(b"", b"/else"))
        bodies = [(await client.answer()).body for _ in range(4)]
        assert bodies == [b"asgi 5", b"asgi 5", b"0", b"asgi 0"]

    _with(scenario)


@pytest.mark.parametrize("pieces", [1, 2, 3])
@pytest.mark.parametrize("together", [1, 2])
def test_a_head_that_was_seen_before_means_the_same_again(pieces: int, together: int) -> None:
    """However often it came, and however it is cut."""
    extra = b"X-A: 1\r\nx-a: 2\r\nx-request-id: mine\r\n"

    async def scenario(server: Stand) -> None:
        client = await server.connect()
        for number in range(5):
            body = b"body %d" % number
            head = b"POST /slow?q=%%41 HTTP/1.1\r\nHost: x\r\n%bContent-Length: 6\r\n\r\n" % extra
            data = (head + body) * together
            size = -(-len(data) // pieces)
            for start in range(0, len(data), size):
                client.send(data[start : start + size])
                await server.settle()
            for _ in range(together):
                call = await server.site.slow.next()
                assert (call.method, call.path, call.query) == ("POST", "/slow", b"q=%41")
                assert (call.body, call.named[b"x-a"]) == (body, b"1,2")
                assert [name for name, _ in call.headers].count(b"x-a") == 2
                call.reply(text_answer("done"))
                assert (await client.answer()).header("x-request-id") == "mine"
        assert server.link.received_bytes == client.sent_bytes

    _with(scenario)


def test_a_known_head_never_stands_for_the_request_behind_it() -> None:
    async def scenario(server: Stand) -> None:
        client = await server.connect()
        known = _post(b"first", b"/slow?a")
        for _ in range(4):
            client.send(known)
            call = await server.site.slow.next()
            await server.settle()
            client.send(_post(b"other", b"/slow?b"))  # while the known one is under way
            await server.settle()
            assert (call.query, call.body) == (b"a", b"first")
            call.reply(text_answer("a"))
            call = await server.site.slow.next()
            assert (call.query, call.body) == (b"b", b"other")
            call.reply(text_answer("b"))
            assert [(await client.answer()).body for _ in range(2)] == [b"a", b"b"]

    _with(scenario)


def test_heads_that_are_too_long_are_not_remembered() -> None:
    async def scenario(server: Stand) -> None:
        client = await server.connect()
        for _ in range(3):
            client.send(b"GET /quick HTTP/1.1\r\nHost: x\r\nx-a: %b\r\n\r\n" % (b"a" * 5000))
            assert (await client.answer()).status == 200
        known = server.front.known_heads
        assert not known
        assert not known._seen

    _with(scenario)


def test_a_stream_with_a_status_that_has_no_body_sends_none() -> None:
    async def pieces() -> AsyncIterator[bytes]:
        yield b"not to be sent"

    async def scenario(server: Stand) -> None:
        client = await server.connect()
        client.send(SLOW + GET)
        (await server.site.slow.next()).reply(Answer(204, (), pieces()))
        answer = await client.answer()
        assert (answer.status, answer.header("transfer-encoding")) == (204, None)
        assert (await client.answer()).body == b"0"

    _with(scenario)


def test_a_pipelined_request_waits_for_the_slow_one_before_it() -> None:
    async def scenario(server: Stand) -> None:
        client, other = await server.connect(), await server.connect()
        client.send(SLOW + GET)
        call = await server.site.slow.next()
        other.send(GET)
        assert (await other.answer()).body == b"0", "another connection does not"
        call.reply(text_answer("done"))
        call.reply(text_answer("twice"))
        assert [(await client.answer()).body for _ in range(2)] == [b"done", b"0"]

    _with(scenario)


# Heads


def test_a_head_over_the_limit_is_refused_though_it_never_ends() -> None:
    async def scenario(server: Stand) -> None:
        client = await server.connect()
        client.send(b"GET /quick HTTP/1.1\r\nx: ")
        while server.link.received_bytes <= server.front.head_bytes:
            client.send(b"a" * 4096)
            await server.settle()
        refused = await client.answer()
        assert refused.status == 431
        assert refused.body == b'{"message": "the request\'s head is too large"}'
        assert refused.header("connection") == "close"
        assert await client.rest() == b""

    _with(scenario)


def test_many_small_headers_count_together() -> None:
    async def scenario(server: Stand) -> None:
        server.front.head_bytes = 2000
        client = await server.connect()
        client.send(b"GET /quick HTTP/1.1\r\n")
        for number in range(150):
            client.send(b"x-%d: yyyyyyyyyy\r\n" % number)
            if number % 50 == 49:
                await server.settle()
        assert (await client.answer()).status == 431

    _with(scenario)


def test_each_request_has_a_head_of_its_own_and_bodies_do_not_count() -> None:
    async def scenario(server: Stand) -> None:
        server.front.head_bytes = 2000
        client = await server.connect()
        request = b"POST /quick HTTP/1.1\r\nHost: x\r\nx: " + b"a" * 1500
        for _ in range(3):
            client.send(request + b"\r\nContent-Length: 9000\r\n\r\n")
            await server.settle()
            client.send(b"b" * 4000)
            await server.settle()
            client.send(b"b" * 5000)
            assert (await client.answer()).body == b"9000"

    _with(scenario)


@pytest.mark.parametrize("sent", [b"", b"GET / HTT", b"\r\n"])
def test_a_head_that_does_not_end_in_time_is_given_up(sent: bytes) -> None:
    async def scenario(server: Stand) -> None:
        client = await server.connect()
        client.send(sent)
        await server.after(server.front.head_s - 1)
        assert server.front.connections
        await server.after(2)
        assert (await client.answer()).status == 408
        assert await client.rest() == b""

    _with(scenario)


def test_drop_by_drop_does_not_help() -> None:
    async def scenario(server: Stand) -> None:
        client = await server.connect()
        client.send(GET[:5])
        for byte in GET[5:15]:
            await server.after(server.front.head_s / 8)
            client.send(bytes([byte]))
        assert (await client.answer()).status == 408

    _with(scenario)


def test_a_late_second_head_does_not_cut_the_answer_before_it() -> None:
    async def scenario(server: Stand) -> None:
        client = await server.connect()
        client.send(SLOW + GET[:9])
        call = await server.site.slow.next()
        await server.after(10 * server.front.head_s)
        call.reply(text_answer("done"))
        assert (await client.answer()).body == b"done"
        await server.after(1)
        client.send(GET[9:])
        assert (await client.answer()).body == b"0", "its time has begun with its turn"

    _with(scenario)


# Bodies


@pytest.mark.parametrize("framing", [b"Content-Length: 101\r\n", b"Transfer-Encoding: chunked\r\n"])
def test_a_body_over_the_limit_is_refused(framing: bytes) -> None:
    async def scenario(server: Stand) -> None:
        client = await server.connect()
        client.send(HEAD + framing + b"\r\n")
        if b"chunked" in framing:
            client.send(b"65\r\n" + b"b" * 101 + b"\r\n")
        refused = await client.answer()
        assert refused.status == 413
        assert b"larger than 100 bytes" in refused.body
        assert await client.rest() == b""

    _with(scenario, body_bytes=100)


def test_a_body_of_just_the_limit_is_taken() -> None:
    async def scenario(server: Stand) -> None:
        client = await server.connect()
        client.send(_post(b"b" * 100))
        assert (await client.answer()).body == b"100"
        client.send(HEAD + b"Transfer-Encoding: chunked\r\n\r\n")
        client.send(b"32\r\n" + b"b" * 50 + b"\r\n")
        client.send(b"32\r\n" + b"b" * 50 + b"\r\n0\r\n\r\n")
        assert (await client.answer()).body == b"100"

    _with(scenario, body_bytes=100)


def test_a_body_that_comes_too_slowly_is_given_up() -> None:
    async def scenario(server: Stand) -> None:
        client = await server.connect()
        client.send(HEAD + b"Content-Length: 1000\r\n\r\n" + b"b" * 200)
        await server.after(4)
        client.send(b"b" * 100)
        await server.after(0.9)  # 2 s, and 3 s for 300 bytes
        assert server.front.connections
        await server.after(0.2)
        assert (await client.answer()).status == 408
        assert await client.rest() == b""

    _with(scenario, body_grace_s=2.0, body_bytes_per_s=100)


def test_a_large_body_at_its_pace_is_taken() -> None:
    async def scenario(server: Stand) -> None:
        client = await server.connect()
        client.send(HEAD + b"Content-Length: 1000\r\n\r\n")
        for _ in range(10):
            client.send(b"b" * 100)
            await server.after(1.1)
        assert (await client.answer()).body == b"1000"

    _with(scenario, body_grace_s=2.0, body_bytes_per_s=100)


# Idle connections, and clients that do not read


def test_an_idle_connection_is_closed_without_a_word() -> None:
    async def scenario(server: Stand) -> None:
        client = await server.connect()
        client.send(GET)
        await client.answer()
        await server.after(74)
        client.send(GET)
        await client.answer()
        await server.after(74)
        assert server.front.connections
        await server.after(2)
        assert await client.rest() == b""
        assert server.link.ended == [("closed", 0)]

    _with(scenario, idle_s=75.0)


def test_a_request_may_take_as_long_as_it_takes() -> None:
    async def scenario(server: Stand) -> None:
        client = await server.connect()
        client.send(SLOW)
        call = await server.site.slow.next()
        await server.after(3600)
        call.reply(text_answer("done"))
        assert (await client.answer()).body == b"done"

    _with(scenario)


def test_a_client_that_does_not_read_is_given_up() -> None:
    async def scenario(server: Stand) -> None:
        client = await server.connect()
        client.send(_post(b"1234567890123456", b"/loud") * 4)
        while not any(c.flow.write_paused for c in server.front.connections):
            await server.settle()
        await server.after(59)
        assert server.front.connections
        await server.after(2)
        assert not server.front.connections

    _with(scenario, write_s=60.0)


@pytest.mark.slow
def test_whoever_reads_again_gets_everything() -> None:
    async def scenario(server: Stand) -> None:
        client = await server.connect()
        client.send(_post(b"1234567890123456", b"/loud") * 3)
        while not any(c.flow.write_paused for c in server.front.connections):
            await server.settle()
        for _ in range(3):
            assert len((await client.answer()).body) == 16 * 2**20

    _with(scenario)


def test_after_its_last_answer_a_client_may_go_on_sending_for_a_while() -> None:
    async def scenario(server: Stand) -> None:
        client = await server.connect()
        client.send(b"no HTTP at all\r\n\r\n" + b"x" * 100_000)
        assert (await client.answer()).status == 400
        client.send(b"x" * 100_000)
        await server.after(LINGER_S / 2)
        assert server.front.connections
        await server.after(LINGER_S)
        assert not server.front.connections

    _with(scenario)


def test_whoever_reads_the_last_answer_slowly_gets_all_of_it() -> None:
    """The time that a client may go on sending starts when it has the answer: to end it before,
    with bytes of its that nobody read, resets what the kernel still holds for it."""

    async def scenario(server: Stand) -> None:
        client = await server.connect(receive_buffer_bytes=16 * 1024)
        client.send(_post(b"12", b"/loud") + b"no HTTP at all\r\n\r\n" + b"x" * 100_000)
        await server.settle()
        for _ in range(3):
            await server.after(LINGER_S)
            client.send(b"x")
        assert len((await client.answer()).body) == 2 * 2**20
        assert (await client.answer()).status == 400
        await asyncio.sleep(0.2)  # the kernel acknowledges the last bytes after 40 ms
        await server.after(LINGER_S / 2)
        assert server.front.connections
        await server.after(LINGER_S)
        assert not server.front.connections

    _with(scenario)


def test_whoever_never_reads_the_last_answer_is_dropped() -> None:
    async def scenario(server: Stand) -> None:
        client = await server.connect(receive_buffer_bytes=16 * 1024)
        client.send(_post(b"12", b"/loud") + b"no HTTP at all\r\n\r\n" + b"x" * 100_000)
        await server.settle()
        await server.after(server.front.limits.write_s / 2)
        assert server.front.connections
        await server.after(server.front.limits.write_s)
        await server.after(LINGER_S)
        assert not server.front.connections

    _with(scenario)


# Clients that leave


def test_a_client_that_leaves_is_dropped_from_the_queue() -> None:
    async def scenario(server: Stand) -> None:
        client = await server.connect()
        client.send(SLOW)
        call = await server.site.slow.next()
        client.writer.transport.abort()
        while server.front.connections:
            await asyncio.sleep(0)
        assert server.site.slow.queue.dropped == [call.work]
        call.reply(text_answer("too late"))  # nobody minds

    _with(scenario)


def test_a_route_with_a_bug_is_a_500_and_the_connection_goes_on(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def scenario(server: Stand) -> None:
        client = await server.connect()
        client.send(b"GET /quick?bug HTTP/1.1\r\nHost: x\r\n\r\n" + GET)
        refused = await client.answer()
        assert (refused.status, refused.body) == (500, b'{"message": "internal error"}')
        assert (await client.answer()).status == 200

    _with(scenario)
    assert "a route failed" in caplog.text


@pytest.mark.parametrize("query", [b"?x=%ff", b"?x=1&x=%0a", b"?"])
def test_a_query_reaches_the_route_as_it_was_sent(query: bytes) -> None:
    async def scenario(server: Stand) -> None:
        client = await server.connect()
        client.send(b"GET /slow%b HTTP/1.1\r\nHost: x\r\n\r\n" % query)
        call = await server.site.slow.next()
        assert (call.path, call.query) == ("/slow", query[1:])
        call.reply(text_answer("done"))
        assert (await client.answer()).status == 200

    _with(scenario)


def test_bytes_beyond_ascii_are_no_target() -> None:
    async def scenario(server: Stand) -> None:
        client = await server.connect()
        client.send(b"GET /quick?x=\xc3\xa9 HTTP/1.1\r\nHost: x\r\n\r\n")
        assert (await client.answer()).status == 400

    _with(scenario)


def test_an_answer_that_ends_the_connection_ends_it_whatever_is_queued() -> None:
    async def scenario(server: Stand) -> None:
        client = await server.connect()
        client.send(SLOW + GET)
        call = await server.site.slow.next()
        call.reply(Answer(200, (), b"last", close=True))
        answer = await client.answer()
        assert (answer.body, answer.header("connection")) == (b"last", "close")
        assert await client.rest() == b""

    _with(scenario)
