"""What the load under faults counts."""

from __future__ import annotations

import asyncio
import math
import os
import socket
import threading

import pytest

from benchmarks.connections import held_by
from benchmarks.faultload import Event, Fate, FaultLoad, counts, failed, recovery_s
from benchmarks.overload import quantile

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n"


def steady(start_ms: int, end_ms: int) -> list[Event]:
    """One right answer each millisecond."""
    return [Event(ms / 1000, ms / 1000, Fate.RIGHT) for ms in range(start_ms, end_ms)]


def test_recovery_is_the_time_until_the_rate_is_back_and_stays() -> None:
    events = steady(0, 1000) + steady(1300, 2000)
    assert recovery_s(events, (0.1, 0.9), 1.0) == pytest.approx(0.3)


def test_a_rate_that_never_comes_back_has_no_recovery() -> None:
    events = steady(0, 1000) + steady(1000, 2000)[::2]
    assert math.isinf(recovery_s(events, (0.1, 0.9), 1.0))


def test_a_refused_connection_is_counted_but_is_no_failed_request() -> None:
    fates = [Fate.RIGHT, Fate.REFUSED, Fate.CUT, Fate.WRONG]
    events = [Event(1.0, 1.0, fate) for fate in fates] + [Event(2.0, 2.0, Fate.STATUS, 503)]
    assert len(failed(events)) == 3
    assert len(failed(events, since_s=1.5)) == 1
    assert counts(events)["status 503"] == 1


def test_quantiles_of_few_and_of_no_values() -> None:
    assert quantile([], 0.99) == 0
    assert quantile([1.0, 2.0], 0.99) == 2.0
    assert quantile([1.0, 2.0, 3.0, 4.0], 0.5) == 3.0


def test_wrong_answers_and_cut_connections_are_told_apart() -> None:
    def serve(server: socket.socket) -> None:
        connection, _ = server.accept()
        with connection:
            for body in (b"ok", b"no", b""):  # the last answer lacks its two bytes
                connection.recv(1000)
                connection.sendall(ANSWER + body)

    async def load(port: int) -> FaultLoad:
        request = [b"GET / HTTP/1.1\r\n\r\n"]
        async with FaultLoad(port, request, lambda _, body: body == b"ok", clients=1) as load:
            while len(load.events) < 3:
                await asyncio.sleep(0)
        return load

    with socket.create_server(("127.0.0.1", 0)) as server:
        serving = threading.Thread(target=serve, args=(server,))
        serving.start()
        events = asyncio.run(load(server.getsockname()[1])).events
        serving.join()
    fates = [event.fate for event in events[:3]]
    assert fates == [Fate.RIGHT, Fate.WRONG, Fate.CUT]


def test_the_connections_of_a_process_are_found_by_the_clients_ports() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port)) as client:
            accepted, _ = server.accept()
            with accepted:
                assert held_by(os.getpid(), port) == {client.getsockname()[1]}
