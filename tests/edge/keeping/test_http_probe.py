"""The probe from outside, against servers that do badly."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from edge.keeping.http_probe import probe

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
Talk = Callable[[socket.socket], None]


@contextlib.contextmanager
def serving(talk: Talk) -> Iterator[int]:
    """The port of a server of one connection."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()

        def run() -> None:
            with contextlib.suppress(OSError):
                to, _ = listening.accept()
                with to:
                    to.recv(4096)
                    talk(to)

        thread = threading.Thread(target=run)
        thread.start()
        try:
            yield int(listening.getsockname()[1])
        finally:
            with contextlib.suppress(OSError):
                listening.shutdown(socket.SHUT_RDWR)
            thread.join()


def sending(data: bytes) -> Talk:
    """Sends that and hangs up."""
    return lambda to: to.sendall(data)


def dripping(data: bytes) -> Talk:
    """Sends a byte each 10 ms."""

    def talk(to: socket.socket) -> None:
        for n in range(len(data)):
            to.sendall(data[n : n + 1])
            time.sleep(0.01)

    return talk


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (OK, None),
        (b"HTTP/1.0 200 OK\r\n\r\nno length", None),
        (b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n", "GET /readyz answers 503"),
        (
            b"HTTP/1.1 503 Busy\r\nContent-Length: 26\r\n\r\nthe board\r\n\x1b[2J\xff\0is lost. ",
            "GET /readyz answers 503: the board [2J\ufffdis lost.",
        ),
        (
            b"HTTP/1.1 500 X\r\nContent-Length: 50000\r\n\r\n" + b"x" * 50000,
            "GET /readyz answers 500: " + "x" * 300,
        ),
        (b"HTTP/1.1 204 None\r\n\r\n", "GET /readyz answers 204"),
        (b"SSH-2.0-OpenSSH\r\n", "the answer to GET /readyz is no HTTP"),
        (b"", "it hung up at GET /readyz"),
        (
            b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nok",
            "the answer to GET /readyz is no HTTP",
        ),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz", "no HTTP"),
        (b"HTTP/1.1 200 OK\r\n" + b"a: b\r\n" * 10_000 + b"\r\n", "no HTTP"),
    ],
)
def test_an_answer_is_judged(data: bytes, said: str | None) -> None:
    with serving(sending(data)) as port:
        found = probe("127.0.0.1", port, "/readyz", 5)
    assert found is said if said is None else said in str(found)


def test_an_answer_without_end_is_read_for_a_while_only() -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n"
    with serving(sending(head + b"x" * 200_000)) as port:
        assert probe("127.0.0.1", port, "/", 5) is None


@pytest.mark.parametrize("talk", [dripping(OK * 100), lambda to: to.recv(1)])
def test_a_slow_answer_is_none_however_it_is_slow(talk: Talk) -> None:
    with serving(talk) as port:
        started = time.monotonic()
        assert probe("127.0.0.1", port, "/readyz", 0.2) == ("no answer to GET /readyz within 0.2 s")
        assert time.monotonic() - started < 10


def test_a_port_without_a_listener_is_said() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
        assert probe("0.0.0.0", port, "/", 1) == f"nothing listens on port {port}"


@pytest.mark.parametrize("path", ["readyz", "/a b", "/x\r\nHost: y", ""])
def test_a_path_cannot_carry_more(path: str) -> None:
    with serving(sending(OK)) as port:
        assert probe("127.0.0.1", port, path, 1) is not None


def test_a_port_that_cannot_be_is_said_and_no_defect() -> None:
    assert "99999" in str(probe("127.0.0.1", 99_999, "/readyz", 1.0))
