"""The page over real sockets, and clients that mean no good."""

from __future__ import annotations

import http.client
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from runtime.controller_service import server as module
from runtime.controller_service.pages import Page, Pages
from runtime.controller_service.server import CONNECTIONS, Server
from runtime.errors import BadValueError
from tests.runtime.deployments.waiting import eventually


class FakePages(Pages):
    def __init__(self) -> None:
        self.may_answer = threading.Event()
        self.may_answer.set()
        self.asked: list[str] = []

    def page(self, path: str) -> Page:
        self.asked.append(path)
        assert self.may_answer.wait(60)
        return Page(200, "text/plain", b"well\n")


@pytest.fixture
def pages() -> FakePages:
    return FakePages()


@pytest.fixture
def server(pages: FakePages) -> Iterator[Server]:
    with Server("127.0.0.1", 0, pages) as found:
        yield found


def ask(server: Server, method: str, path: str = "/metrics") -> tuple[int, bytes]:
    link = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
    try:
        link.request(method, path)
        answer = link.getresponse()
        assert answer.getheader("Server") == "inferry"
        return answer.status, answer.read()
    finally:
        link.close()


def said(server: Server, request: bytes) -> bytes:
    with socket.create_connection(("127.0.0.1", server.port), 30) as link:
        link.sendall(request)
        answer = b""
        while piece := link.recv(65_536):
            answer += piece
        return answer


def test_get_and_head_are_answered_and_nothing_else(server: Server, pages: FakePages) -> None:
    assert ask(server, "GET") == (200, b"well\n")
    assert ask(server, "HEAD") == (200, b"")
    for method in ("POST", "PUT", "DELETE", "OPTIONS", "TRACE", "CONNECT"):
        assert ask(server, method)[0] == 405
    assert pages.asked == ["/metrics", "/metrics"]


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n", b"400"),
        (b"GET\r\n\r\n", b"400"),
        (b"GET /metrics HTTP/9.9\r\n\r\n", b"505"),
        (b"GET /" + b"a" * 70_000 + b" HTTP/1.1\r\n\r\n", b"414"),
        (b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 200 + b"\r\n", b"431"),
        (b"GET / HTTP/1.1\r\nX: " + b"y" * 70_000 + b"\r\n\r\n", b"431"),
    ],
)
def test_what_is_no_request_is_refused(
    server: Server, request_: bytes, status: bytes, pages: FakePages
) -> None:
    answer = said(server, request_)
    assert answer.split(b" ", 2)[1] == status
    assert b"Traceback" not in answer
    assert pages.asked == []
    assert ask(server, "GET")[0] == 200


def test_a_client_that_says_nothing_is_let_go(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "REQUEST_S", 0.2)
    assert said(server, b"") == b""
    assert said(server, b"GET /metrics HTTP/1.1\r\nX: ") == b""


def test_too_many_at_once_are_told_so_and_the_others_are_answered(
    server: Server, pages: FakePages
) -> None:
    pages.may_answer.clear()
    with ExitStack() as held:
        for _ in range(CONNECTIONS):
            link = held.enter_context(socket.create_connection(("127.0.0.1", server.port), 30))
            link.sendall(b"GET /metrics HTTP/1.1\r\n\r\n")
        eventually(lambda: len(pages.asked) == CONNECTIONS, 30)
        assert said(server, b"").startswith(b"HTTP/1.1 503 ")
        pages.may_answer.set()
    eventually(lambda: not said(server, b"GET / HTTP/1.1\r\n\r\n").startswith(b"HTTP/1.1 503 "), 30)


def test_a_place_that_cannot_be_had_is_said(server: Server, pages: FakePages) -> None:
    for host, port in (
        ("127.0.0.1", server.port),
        ("192.0.2.1", 0),
        ("no-such-host.invalid", 0),
        ("a" * 300, 0),
    ):
        with (
            pytest.raises(BadValueError, match="cannot listen"),
            Server(host, port, pages),
        ):
            pass


def test_an_address_of_version_6_is_one_too(pages: FakePages) -> None:
    assert Server("::1", 9464, pages).url == "http://[::1]:9464"
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        return  # not on this machine
    with Server("::1", 0, pages) as found:
        assert found.url == f"http://[::1]:{found.port}"
        with socket.create_connection(("::1", found.port), 30) as link:
            link.sendall(b"GET / HTTP/1.1\r\n\r\n")
            assert link.recv(100).startswith(b"HTTP/1.1 200")
