"""Bounds of size and time on one connection, and ``Expect: 100-continue``.

Bounds of a request's head are in tests/scoring/test_protocol.py, of a body with a declared length
in test_score_hostile.py."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from tests.system.hostile_server import Running, serve_model
from tests.system.http_requests import CLOSING, chunked, scoring_body, scoring_request
from tests.system.process_tree import resident_bytes
from tests.system.raw_http import MEBIBYTE, Peer, check_error

pytestmark = pytest.mark.slow

SCORE = b"POST /score HTTP/1.1\r\nHost: test\r\n"
NOPE = b"POST /nope HTTP/1.1\r\nHost: test\r\n"
LIVE = b"GET / HTTP/1.1\r\nHost: test\r\n"
CHUNKED = b"Transfer-Encoding: chunked\r\n"
EXPECT = b"Expect: 100-continue\r\n"
BODY = scoring_body(1)
ANSWER = {"y": [[2.0, 2.0, 4.0, 6.0]]}
LENGTH = b"Content-Length: %d\r\n" % len(BODY)
BODY_S = 1.0
IDLE_S = 1.0
IDLE_OPTION = "--keep-alive-s"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("model")
    with serve_model(folder, "--max-body-mib", "1", "--body-timeout-s", str(BODY_S)) as running:
        yield running
        text = running.log.read_text("utf-8", "replace")
        assert "Traceback" not in text, text[-3000:]


def check_alive(server: Running) -> None:
    """A new connection is served."""
    with Peer.open(server.port) as peer:
        peer.send(scoring_request(1, b"Connection: close"))
        assert peer.reply().json() == ANSWER


@pytest.mark.parametrize(
    "expect", [EXPECT, b"expect:100-Continue \r\n", b"Expect:\t100-continue\t\r\n"]
)
@pytest.mark.parametrize("framing", ["length", "chunks"])
def test_who_waits_to_send_is_told_to(server: Running, expect: bytes, framing: str) -> None:
    head, body = (LENGTH, BODY) if framing == "length" else (CHUNKED, chunked(BODY, 5))
    with Peer.open(server.port) as peer:
        for _ in range(2):
            peer.send(SCORE + expect + head + b"\r\n")
            assert peer.connection.recv(1000) == b"HTTP/1.1 100 Continue\r\n\r\n"
            peer.send(body)
            reply = peer.reply()
            assert reply.json() == ANSWER
            assert reply.informational == ()


def test_who_does_not_wait_is_answered_too(server: Running) -> None:
    """A 100 may come or not (RFC 9110, section 10.1.1), but only before its answer."""
    with Peer.open(server.port) as peer:
        peer.send((SCORE + EXPECT + LENGTH + b"\r\n" + BODY) * 10 + CLOSING)
        replies = peer.replies_to_end()
    assert [reply.status for reply in replies] == [200] * 10 + [404]
    assert all(reply.informational in ((), (100,)) for reply in replies[:10])
    assert replies[10].informational == ()


def test_a_100_comes_after_the_answers_before_it(server: Running) -> None:
    with Peer.open(server.port) as peer:
        peer.send(b"".join(map(scoring_request, range(20))) + SCORE + EXPECT + LENGTH + b"\r\n")
        for _ in range(20):
            assert peer.reply().informational == ()
        peer.send(BODY)
        reply = peer.reply()
    assert reply.json() == ANSWER
    assert reply.informational == (100,)


@pytest.mark.parametrize(
    ("head", "statuses"),
    [
        (SCORE + EXPECT + b"Content-Length: %d\r\n" % (2 * MEBIBYTE), (413,)),
        (SCORE + EXPECT + LENGTH + b"Content-Type: image/png\r\n", (415,)),
        (SCORE + EXPECT + LENGTH + b"X-Request-Id: " + b"i" * 101 + b"\r\n", (431,)),
        (b"PUT /score HTTP/1.1\r\nHost: test\r\n" + EXPECT + LENGTH, (405,)),
        (NOPE + EXPECT + LENGTH, (404,)),
        (NOPE + EXPECT + CHUNKED, (404,)),
    ],
    ids=["413", "415", "431", "405", "404", "404 chunked"],
)
def test_a_body_that_nobody_will_read_is_not_asked_for(
    server: Running, head: bytes, statuses: tuple[int, ...]
) -> None:
    """The final answer comes without a 100, and so before a body that was waited for would be late
    (408); what is then sent is no request."""
    with Peer.open(server.port) as peer:
        peer.send(head + b"\r\n")
        reply = peer.reply()
        check_error(reply, *statuses)
        assert reply.informational == ()
        if not reply.is_last:  # then the body is still due
            body = chunked(BODY, 9) if CHUNKED in head else BODY
            peer.send(body + scoring_request(1, b"Connection: close"))
            assert peer.reply().json() == ANSWER
        peer.half_close()
        peer.expect_end()


@pytest.mark.parametrize("start", [SCORE, NOPE], ids=["fast", "asgi"])
def test_an_unknown_expectation_is_no_100_continue(server: Running, start: bytes) -> None:
    """RFC 9110 allows 417; many servers read on. Neither asks for the body."""
    with Peer.open(server.port) as peer:
        peer.send(start + b"Expect: 200-maybe\r\n" + LENGTH + b"\r\n" + BODY + CLOSING)
        replies = peer.replies_to_end()
    assert replies[0].status in (200, 404, 417)
    assert all(reply.informational == () for reply in replies)
    assert replies[-1].is_last


def test_http_1_0_gets_no_100(server: Running) -> None:
    """RFC 9110, section 10.1.1: an HTTP/1.0 client would take it for the answer."""
    with Peer.open(server.port) as peer:
        peer.send(b"POST /score HTTP/1.0\r\n" + EXPECT + LENGTH + b"\r\n")
        peer.expect_silence()
        peer.send(BODY)
        reply = peer.reply()
    assert reply.json() == ANSWER
    assert reply.informational == ()


def test_get_without_a_body_gets_no_100(server: Running) -> None:
    with Peer.open(server.port) as peer:
        peer.send(LIVE + EXPECT + b"Connection: close\r\n\r\n")
        reply = peer.reply()
    assert (reply.status, reply.informational) == (200, ())


@contextmanager
def flood(peer: Peer, make: Callable[[int], bytes]) -> Iterator[threading.Event]:
    """Send ``make(number)`` without end, until the connection or the test ends."""
    stop = threading.Event()

    def send() -> None:
        number = 0
        while not stop.is_set() and not peer.was_reset:
            try:
                peer.send(make(number))
            except OSError:
                return
            number += 1

    thread = threading.Thread(target=send)
    thread.start()
    try:
        yield stop
    finally:
        stop.set()
        with suppress(OSError):
            peer.connection.shutdown(socket.SHUT_RDWR)
        thread.join()


FLOODS: dict[str, tuple[bytes, Callable[[int], bytes]]] = {
    "trailers": (b"0\r\n", lambda number: b"x-%d: y\r\n" % number * 500),
    "one trailer": (b"0\r\nx: ", lambda number: b"y" * 8192),
    "one extension": (b"1;x=", lambda number: b"y" * 8192),
    "extensions": (b"", lambda number: (b"1;" + b"y" * 1000 + b"\r\n \r\n") * 8),
    "one size": (b"", lambda number: b"0" * 8192),
}


@pytest.mark.parametrize("name", FLOODS)
def test_what_frames_a_body_is_bounded_as_the_body_is(server: Running, name: str) -> None:
    """CVE-2024-22019, CVE-2023-39326: a body of few bytes in framing without end."""
    start, make = FLOODS[name]
    check_alive(server)
    before = resident_bytes(server.process.pid)
    with Peer.open(server.port) as peer:
        peer.send(SCORE + CHUNKED + b"\r\n" + start)
        with flood(peer, make):
            check_error(peer.reply(), 400, 408, 413, 431)
            assert resident_bytes(server.process.pid) - before < 16 * MEBIBYTE
    check_alive(server)


@pytest.mark.parametrize("start", [b"", scoring_request(1)], ids=["first", "later"])
def test_empty_lines_without_end_are_refused(server: Running, start: bytes) -> None:
    with Peer.open(server.port) as peer:
        if start:
            peer.send(start)
            assert peer.reply().status == 200
        with flood(peer, lambda number: b"\r\n" * 4096):
            check_error(peer.reply(), 400, 408, 431)
    check_alive(server)


def test_a_body_that_nobody_reads_is_bounded_in_memory(server: Running) -> None:
    """Its route has answered, so the rest is dropped as it comes or the connection ends."""
    before = resident_bytes(server.process.pid)
    with Peer.open(server.port) as peer:
        peer.send(NOPE + b"Content-Length: %d\r\n\r\n" % (64 * MEBIBYTE))
        check_error(peer.reply(), 404, 413)
        for _ in range(64):
            peer.send(b" " * MEBIBYTE)
        assert resident_bytes(server.process.pid) - before < 16 * MEBIBYTE
    check_alive(server)


def test_many_small_chunks_are_read_in_linear_time(server: Running) -> None:
    body = BODY[:-1] + b" " * 200_000 + BODY[-1:]
    started = time.monotonic()
    with Peer.open(server.port) as peer:
        peer.send(SCORE + CHUNKED + b"\r\n" + chunked(body, 1) + CLOSING)
        assert peer.reply().json() == ANSWER
    assert time.monotonic() - started < 30


def test_chunks_may_have_up_to_the_limit_and_no_more(server: Running) -> None:
    body = BODY + b" " * (MEBIBYTE - len(BODY))
    with Peer.open(server.port) as peer:
        peer.send(SCORE + CHUNKED + b"\r\n" + chunked(body, 65_536))
        assert peer.reply().json() == ANSWER
        peer.send(SCORE + CHUNKED + b"\r\n" + chunked(body + b" ", 65_536))
        check_error(peer.reply(), 413)
        peer.expect_end()


SLOW = {
    "length": (SCORE + b"Content-Length: 1000\r\n\r\n", b" "),
    "chunks": (SCORE + CHUNKED + b"\r\n", b"1\r\n \r\n"),
    "chunk size": (SCORE + CHUNKED + b"\r\n", b"0"),
    "trailers": (SCORE + CHUNKED + b"\r\n1\r\n \r\n0\r\n", b"x: y\r\n"),
    "expected": (SCORE + EXPECT + b"Content-Length: 1000\r\n\r\n", b""),
    "silent": (SCORE + b"Content-Length: 1000\r\n\r\n", b""),
}


@pytest.mark.parametrize("name", SLOW)
def test_a_slow_body_is_given_up_in_time(server: Running, name: str) -> None:
    head, piece = SLOW[name]
    started = time.monotonic()
    with Peer.open(server.port) as peer:
        peer.send(scoring_request(1) + head)
        assert peer.reply().json() == ANSWER
        stop = threading.Event()

        def trickle() -> None:
            while not stop.wait(0.1) and not peer.was_reset:
                peer.send(piece)

        thread = threading.Thread(target=trickle)
        thread.start()
        try:
            reply = peer.reply()
        finally:
            stop.set()
            thread.join()
        check_error(reply, 408)
        assert BODY_S * 0.9 < time.monotonic() - started < BODY_S + 20
        assert reply.is_last
        peer.half_close()
        peer.expect_end()
    check_alive(server)


def test_a_slow_body_keeps_no_queued_answer_back(server: Running) -> None:
    """And no request behind it is read: nobody knows where it would start."""
    with Peer.open(server.port) as peer:
        peer.send(b"".join(map(scoring_request, range(10))))
        peer.send(SCORE + b"Content-Length: 1000\r\n\r\n" + scoring_request(777))
        replies = [peer.reply() for _ in range(11)]
        peer.half_close()
        peer.expect_end()
    assert [reply.status for reply in replies] == [200] * 10 + [408]


@pytest.mark.parametrize(
    "sent",
    [scoring_request(1), LIVE + b"\r\n", LIVE + b"\r\n" + scoring_request(1) * 3],
    ids=["fast", "asgi", "pipelined"],
)
def test_an_idle_connection_is_closed(tmp_path: Path, sent: bytes) -> None:
    with serve_model(tmp_path, IDLE_OPTION, str(IDLE_S)) as server:
        with Peer.open(server.port) as peer:
            peer.send(sent)
            for _ in range(sent.count(b"HTTP/1.1")):
                assert peer.reply().status == 200
            started = time.monotonic()
            peer.expect_end()
            assert IDLE_S * 0.5 < time.monotonic() - started < IDLE_S + 20
        check_alive(server)


def test_a_connection_in_use_is_not_idle(tmp_path: Path) -> None:
    with (
        serve_model(tmp_path, IDLE_OPTION, str(IDLE_S)) as server,
        Peer.open(server.port) as peer,
    ):
        started = time.monotonic()
        while time.monotonic() - started < 2.5 * IDLE_S:
            peer.send(scoring_request(1))
            assert peer.reply().json() == ANSWER
            peer.expect_silence(IDLE_S / 4)
