"""A link ends in time, whatever hangs, and leaves no thread and no socket."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from benchmarks.edge.network import BadNetwork
from edge.broker import Broker, BrokerConfig
from edge.enrolment import Authority, write_files
from edge.enrolment.files import SECRET, File
from edge.link import sockets
from edge.link.mqtt import MqttLink, Tls
from edge.link.port import Message
from tests.edge.link.users import User, Users, at, is_link, wait_for

STOP_S = 15.0
"""3 s is promised, on a machine that has nothing else to do; an answer is waited for for 20."""
AT_ONCE_S = 10.0
"""Where there is nothing to wait for, which takes no time."""


def stop(user: User, *, within_s: float = AT_ONCE_S) -> None:
    began_s = time.monotonic()
    user.link.stop(Message("a/status", b"left", True))
    assert time.monotonic() - began_s < within_s


@pytest.fixture
def mute() -> Iterator[tuple[int, list[socket.socket]]]:
    """Takes connections, and says nothing: its port, and who came."""
    came: list[socket.socket] = []
    with socket.create_server(("127.0.0.1", 0)) as server, ExitStack() as opened:

        def serve() -> None:
            while True:
                try:
                    came.append(opened.enter_context(server.accept()[0]))
                except OSError:
                    return

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield server.getsockname()[1], came
        finally:
            server.shutdown(socket.SHUT_RDWR)
            thread.join()


@pytest.fixture
def full() -> Iterator[int]:
    """The port of a listener whose queue is full: a connection to it hangs, as if packets were
    dropped."""
    with socket.socket() as server, ExitStack() as opened:
        server.bind(("127.0.0.1", 0))
        server.listen(0)
        for _ in range(4):
            one = opened.enter_context(socket.socket())
            one.setblocking(False)
            one.connect_ex(server.getsockname())
        yield server.getsockname()[1]


def tls(folder: Path) -> Tls:
    authority = Authority.load_or_create(folder / "ca")
    own = authority.issue_device("a")
    files = {"ca.pem": File(authority.pem), "pem": File(own.certificate)}
    write_files(folder, files | {"key": File(own.key, SECRET)})
    return Tls(folder / "ca.pem", folder / "pem", folder / "key")


@pytest.mark.usefixtures("open_files")
def test_while_tcp_hangs(users: Users, full: int, monkeypatch: pytest.MonkeyPatch) -> None:
    hangs = threading.Event()
    wait = sockets._wait

    def waits(*arguments: Any) -> None:
        hangs.set()
        wait(*arguments)

    monkeypatch.setattr(sockets, "_wait", waits)
    a = users(at(full))
    a.start("t")
    assert hangs.wait(60)
    stop(a)


@pytest.mark.usefixtures("open_files")
def test_while_a_tls_handshake_hangs(
    users: Users, mute: tuple[int, list[socket.socket]], tmp_path: Path
) -> None:
    port, came = mute
    a = users(at(port, tls=tls(tmp_path)))
    a.start("t")
    wait_for(lambda: came)
    assert came[0].recv(1)  # the first of TLS is there
    stop(a)


def test_while_connect_is_not_answered(users: Users, mute: tuple[int, list[socket.socket]]) -> None:
    port, came = mute
    a = users(at(port))
    a.start("t")
    wait_for(lambda: came)
    assert came[0].recv(1)
    stop(a)


def test_while_it_waits_for_its_next_attempt(users: Users) -> None:
    a = users(at(1, min_wait_s=1e-3, max_wait_s=600.0))
    a.start("t")
    wait_for(lambda: a.link.last_error)
    stop(a)


def test_while_a_connection_is_being_made_ready(users: Users) -> None:
    """A stop that comes before it can be seen must not leave it open for ever."""
    made: list[MqttLink] = []

    def stop_meanwhile() -> bool:
        stopping = threading.Thread(target=made[0].stop)
        stopping.start()
        stopping.join(60)
        return True

    with Broker(BrokerConfig()) as broker:
        user = users(at(broker.port), is_clock_right=stop_meanwhile)
        made.append(user.link)
        user.start("t")
        wait_for(lambda: not [one for one in threading.enumerate() if is_link(one)])
        assert not user.link.is_connected
        assert not broker._connections


def test_while_the_network_is_silent_and_nothing_more_can_be_sent(users: Users) -> None:
    with (
        Broker(BrokerConfig()) as broker,
        BadNetwork(("127.0.0.1", broker.port)) as network,
    ):
        a = users(at(network.port, keepalive_s=900, max_in_flight=50, max_queued=60))
        a.start("t")
        a.wait_connected()
        network.silence()
        payload = b"x" * 900_000
        while a.link.publish(Message("t", payload)):
            continue  # until paho is full: far beyond what the sockets hold
        stop(a, within_s=STOP_S)
        wait_for(lambda: not any(is_link(one) for one in threading.enumerate()))


def test_an_end_in_good_order_is_quick(users: Users) -> None:
    with Broker(BrokerConfig()) as broker:
        for _ in range(20):
            a = users(at(broker.port, min_wait_s=1e-3))
            a.start("t")
            a.wait_connected()
            stop(a)


@pytest.mark.usefixtures("open_files")
def test_many_connections_leave_nothing(users: Users) -> None:
    with Broker(BrokerConfig()) as broker, BadNetwork(("127.0.0.1", broker.port)) as network:
        a = users(at(network.port, max_wait_s=0.02))
        a.start("t")
        a.wait_connected()
        before = threading.active_count()
        for _ in range(15):
            network.cut()
            a.wait_connected()
        assert a.link.connections == 15
        wait_for(lambda: threading.active_count() <= before)
        stop(a)


def test_the_first_address_that_answers_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        found = [
            (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", 1)),
            (socket.AF_INET, socket.SOCK_STREAM, 6, "", server.getsockname()),
        ]
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
        with sockets.connect("x", 1, 5.0, lambda: False) as made:
            assert made.getpeername() == server.getsockname()


def test_an_address_that_hangs_leaves_the_next_its_share(
    full: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        found = [
            (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", full)),
            (socket.AF_INET, socket.SOCK_STREAM, 6, "", server.getsockname()),
        ]
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
        with sockets.connect("x", 1, 2.0, lambda: False) as made:
            assert made.getpeername() == server.getsockname()


def test_what_does_not_connect_says_why(full: int) -> None:
    with pytest.raises(ConnectionRefusedError):
        sockets.connect("127.0.0.1", 1, 5.0, lambda: False)
    with pytest.raises(TimeoutError):
        sockets.connect("127.0.0.1", full, 0.1, lambda: False)
    with pytest.raises(sockets.OverError):
        sockets.connect("127.0.0.1", full, 5.0, lambda: True)
    with pytest.raises(OSError, match=r"not known|resolution"):
        sockets.connect("no-such-host.invalid", 1, 5.0, lambda: False)
