"""POST /score of an instance that may do anything."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress

import pytest

from edge.hosts.port import InstanceId, Observed
from edge.switch.scoring import body_of, score
from tests.ports import free_port

Serve = Callable[[Callable[[socket.socket], None]], Observed]


@pytest.fixture
def serve() -> Iterator[Serve]:
    """A server of one connection that does as it is told."""
    with ExitStack() as stack:

        def make(answer: Callable[[socket.socket], None]) -> Observed:
            listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))

            def work() -> None:
                with suppress(OSError), listener.accept()[0] as link:
                    link.recv(65_536)
                    answer(link)

            thread = threading.Thread(target=work, daemon=True)
            thread.start()
            stack.callback(thread.join, 10)
            port = int(listener.getsockname()[1])
            return Observed(InstanceId("m", "next"), "d", "running", port=port)

        yield make


def says(data: bytes) -> Callable[[socket.socket], None]:
    return lambda link: link.sendall(data)


def test_an_answer_is_its_status_body_and_time(serve: Serve) -> None:
    seen = serve(says(b"HTTP/1.1 400 Bad\r\nContent-Length: 3\r\n\r\nabc"))
    found = score(seen, b"{}", 5)
    assert (found.status, found.body) == (400, b"abc")
    assert 0 < found.seconds < 5


def test_an_answer_may_come_in_chunks_or_end_with_its_connection(serve: Serve) -> None:
    head = b"HTTP/1.1 200 OK\r\n"
    chunks = head + b"Transfer-Encoding: chunked\r\n\r\n2\r\nab\r\n1\r\nc\r\n0\r\n\r\n"
    assert score(serve(says(chunks)), b"", 5).body == b"abc"
    assert score(serve(says(head + b"\r\nabc")), b"", 5).body == b"abc"


def _drip(link: socket.socket) -> None:
    for byte in b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n" + b"x" * 1000:
        link.sendall(bytes([byte]))
        time.sleep(0.02)


def _wait(link: socket.socket) -> None:
    link.recv(1)


@pytest.mark.parametrize("answer", [_drip, _wait])
def test_the_time_bounds_all_of_it(serve: Serve, answer: Callable[[socket.socket], None]) -> None:
    began = time.monotonic()
    with pytest.raises(TimeoutError, match=r"within 0\.3 s"):
        score(serve(answer), b"{}", 0.3)
    assert time.monotonic() - began < 10


@pytest.mark.parametrize(
    "data", [b"", b"what?\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc",
             b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n" + b"x" * (17 << 20)],
)  # fmt: skip
def test_what_is_no_whole_answer_is_an_error(serve: Serve, data: bytes) -> None:
    with pytest.raises(OSError, match="answer"):
        score(serve(says(data)), b"{}", 5)


def test_nobody_there_is_an_error() -> None:
    for found in (free_port(), None):
        with pytest.raises(OSError, match=r"."):
            score(Observed(InstanceId("m", "next"), "d", "running", port=found), b"", 5)


def test_a_text_is_sent_as_it_is_and_anything_else_as_json() -> None:
    assert body_of("a,b") == b"a,b"
    assert body_of({"data": [1.5, None]}) == b'{"data": [1.5, null]}'
