"""Real sockets, and receivers that mean no good."""

from __future__ import annotations

import http.client
import json
import socket
import ssl
import threading
import time

import pytest
import trustme

from runtime.hooks.exchange import exchanged
from tests.runtime.hooks.receivers import Say, raw, receiving

SOON_S = 0.4
BOUND_S = 10.0
"""Generous: other tests have the machine, too."""


def test_a_post_is_json_and_a_get_has_no_body() -> None:
    with receiving(Say(201, b"yes", {"Retry-After": "3", "Location": "/there"})) as receiver:
        found = exchanged(receiver.url + "?a=b", b"{}", {"Webhook-Id": "c1"}, 10)
        assert (found.status, found.body) == (201, b"yes")
        assert (found.retry_after, found.location) == ("3", "/there")
        exchanged(receiver.url, None, {}, 10)
    post, get = receiver.got
    assert (post.method, post.path, post.body) == ("POST", "/hook?a=b", b"{}")
    assert post.headers["Content-Type"] == "application/json"
    assert post.headers["Webhook-Id"] == "c1"
    assert post.headers["Host"].startswith("localhost:")
    assert (get.method, get.body) == ("GET", b"")
    assert "Content-Length" not in get.headers


def test_a_redirect_is_not_followed() -> None:
    with receiving() as other:
        for where in ("file:///etc/passwd", other.url, "gopher://x", "//evil.example/"):
            with receiving(Say(307, headers={"Location": where})) as receiver:
                found = exchanged(receiver.url, b"{}", {}, 10)
            assert (found.status, found.location) == (307, where)
    assert other.got == []


def test_a_certificate_that_nobody_vouches_for_gets_nothing() -> None:
    ca = trustme.CA()
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ca.issue_cert("localhost").configure_cert(server)
    trusting = ssl.create_default_context()
    ca.configure_trust(trusting)
    with receiving(tls=server) as receiver:
        with pytest.raises(ssl.SSLCertVerificationError):
            exchanged(receiver.url, b"{}", {}, 10)
        assert receiver.got == []
        assert exchanged(receiver.url, b"{}", {}, 10, tls=trusting).status == 200
        with pytest.raises(ssl.SSLCertVerificationError):  # the name counts
            exchanged(receiver.url.replace("localhost", "127.0.0.1"), b"{}", {}, 10, tls=trusting)
    assert len(receiver.got) == 1


def _silent(link: socket.socket, over: threading.Event) -> None:
    over.wait(60)


def _dripping(link: socket.socket, over: threading.Event) -> None:
    for byte in b"HTTP/1.1 200 OK\r\nX-Slow: " + b"a" * 1000:
        link.sendall(bytes([byte]))
        if over.wait(0.05):
            return


def _always_continuing(link: socket.socket, over: threading.Event) -> None:
    while not over.wait(0.01):
        link.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")


def _not_reading(link: socket.socket, over: threading.Event) -> None:
    link.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    over.wait(60)


@pytest.mark.slow
@pytest.mark.parametrize("serve", [_silent, _dripping, _always_continuing])
def test_who_does_not_answer_in_time_is_left(serve: object) -> None:
    with raw(serve) as url:  # type: ignore[arg-type]
        began_s = time.monotonic()
        with pytest.raises(TimeoutError):
            exchanged(url, b"{}", {}, SOON_S)
        assert time.monotonic() - began_s < BOUND_S


@pytest.mark.slow
def test_who_does_not_read_is_left() -> None:
    with raw(_not_reading) as url, pytest.raises(TimeoutError):
        exchanged(url, b" " * (32 << 20), {}, SOON_S)


def test_a_body_without_end_is_not_read() -> None:
    sent = 0

    def endless(link: socket.socket, over: threading.Event) -> None:
        nonlocal sent
        link.recv(65_536)
        link.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1073741824\r\n\r\n")
        while not over.is_set():
            link.sendall(b"x" * 65_536)
            sent += 65_536

    with raw(endless) as url:
        found = exchanged(url, b"{}", {}, 10)
    assert found.status == 200
    assert 0 < len(found.body) <= 2048
    assert sent < 64 << 20  # what the two sockets take, not 1 GiB


@pytest.mark.slow
def test_a_status_counts_though_its_body_never_comes() -> None:
    def half(link: socket.socket, over: threading.Event) -> None:
        link.recv(65_536)
        link.sendall(b"HTTP/1.1 409 Conflict\r\nContent-Length: 100\r\n\r\nnot")
        over.wait(60)

    with raw(half) as url:
        assert exchanged(url, b"{}", {}, 10).status == 409


@pytest.mark.parametrize(
    "said",
    [
        b"",
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"HTTP/1.1 abc\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 500 + b"\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"y" * 200_000 + b"\r\n\r\n",
        b"\x16\x03\x01\x00" * 100,
    ],
)
def test_what_is_no_http_is_an_error_that_is_foreseen(said: bytes) -> None:
    def say(link: socket.socket, over: threading.Event) -> None:
        link.recv(65_536)
        link.sendall(said)

    with raw(say) as url, pytest.raises((OSError, http.client.HTTPException, ValueError)):
        exchanged(url, b"{}", {}, 10)


def test_nobody_there_is_said_at_once() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with pytest.raises(ConnectionRefusedError):
        exchanged(f"http://127.0.0.1:{port}/", b"{}", {}, 10)


@pytest.mark.parametrize("value", ["a\r\nX-Evil: 1", "a\nb", "a\0", "ä", "a\x85b"])
def test_no_header_becomes_two(value: str) -> None:
    with receiving() as receiver:
        with pytest.raises(ValueError, match="one line"):
            exchanged(receiver.url, b"{}", {"Webhook-Id": value}, 10)
        with pytest.raises(ValueError, match="one line"):
            exchanged(receiver.url + value, b"{}", {}, 10)
    assert receiver.got == []


@pytest.mark.parametrize("url", ["file:///etc/passwd", "ftp://127.0.0.1/", "http://", "x"])
def test_only_http_is_spoken(url: str) -> None:
    with pytest.raises(ValueError, match="URL"):
        exchanged(url, json.dumps({}).encode(), {}, 1)
