"""The kernel's count of bytes, on real connections: struct tcp_info is read at the right place."""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Iterator

import pytest

from scoring.supervision.tcp_state import Moved, is_intact, moved


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    """A client's socket and the server's, over loopback."""
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        client = stack.enter_context(socket.create_connection(listener.getsockname()))
        server = stack.enter_context(listener.accept()[0])
        yield client, server


def test_bytes_count_when_they_are_read_and_written(
    pair: tuple[socket.socket, socket.socket],
) -> None:
    client, server = pair
    fd = server.fileno()
    assert moved(fd) == (0, 0)
    client.send(b"x" * 100)
    assert server.recv(60, socket.MSG_WAITALL)
    assert moved(fd) == (60, 0)
    server.send(b"y" * 7)
    assert moved(fd) == (60, 7)
    assert client.recv(7, socket.MSG_WAITALL)
    assert is_intact(fd, consumed=60, written=7)
    assert not is_intact(fd, consumed=59, written=7)
    assert not is_intact(fd, consumed=60, written=8)


def test_what_the_client_has_not_acknowledged_is_written(
    pair: tuple[socket.socket, socket.socket],
) -> None:
    _, server = pair
    server.setblocking(False)
    sent = server.send(bytes(50_000_000))
    assert 0 < sent < 50_000_000
    assert moved(server.fileno()) == (0, sent)


def test_the_client_s_end_counts_as_a_byte_read(pair: tuple[socket.socket, socket.socket]) -> None:
    client, server = pair
    client.shutdown(socket.SHUT_WR)
    deadline = time.monotonic() + 45
    while moved(server.fileno()) == Moved(0, 0):
        assert time.monotonic() < deadline
    assert not is_intact(server.fileno(), consumed=0, written=0)


def test_other_sockets_are_never_intact() -> None:
    one, other = socket.socketpair()
    with one, other:
        assert moved(one.fileno()) is None
        assert not is_intact(one.fileno(), consumed=0, written=0)
