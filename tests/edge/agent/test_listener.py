from __future__ import annotations

import http.client
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, suppress

import pytest

from edge.agent.listener import MAX_AT_ONCE, Listener, exposition
from edge.errors import ConfigError


class Site:
    """A listener at work."""

    def __init__(self) -> None:
        self.trouble: str | None = None
        self.listener = Listener(
            "127.0.0.1", 0, metrics=lambda: {"connected": 1}, health=lambda: self.trouble
        )
        self.stopping = threading.Event()
        self.thread = threading.Thread(target=self.listener.work, args=(self.stopping,))
        self.thread.start()

    def get(self, path: str, method: str = "GET") -> tuple[int, str]:
        connection = http.client.HTTPConnection("127.0.0.1", self.listener.port, timeout=10)
        with closing(connection):
            connection.request(method, path)
            response = connection.getresponse()
            return response.status, response.read().decode()

    def close(self) -> None:
        self.stopping.set()
        self.thread.join(60)
        self.listener.close()
        assert not self.thread.is_alive()


@pytest.fixture
def site() -> Iterator[Site]:
    with closing(Site()) as found:
        yield found


def test_it_says_how_the_agent_is(site: Site) -> None:
    assert site.get("/healthz") == (200, "ok\n")
    site.trouble = "the thread reporter died"
    assert site.get("/healthz?x=1") == (503, "the thread reporter died\n")
    status, body = site.get("/metrics")
    assert status == 200
    assert "inferry_edge_connected 1\n" in body


def test_other_paths_and_methods_are_refused(site: Site) -> None:
    assert site.get("/")[0] == 404
    assert site.get("/metrics", "POST")[0] == 501


def test_one_that_says_nothing_holds_up_no_other(site: Site) -> None:
    with closing(socket.create_connection(("127.0.0.1", site.listener.port))):
        assert site.get("/healthz")[0] == 200


def test_a_port_that_is_taken_is_refused_in_words(site: Site) -> None:
    with pytest.raises(ConfigError, match=r"listen\.port"):
        Listener("127.0.0.1", site.listener.port, metrics=dict, health=lambda: None)


def test_metrics_are_as_prometheus_reads_them() -> None:
    assert (
        exposition({"threads": 3.0})
        == "# TYPE inferry_edge_threads gauge\ninferry_edge_threads 3\n"
    )


def test_clients_that_hang_take_few_threads_and_not_for_ever(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("edge.agent.listener.TIMEOUT_S", 0.5)
    with closing(Site()) as site, ExitStack() as stack:
        before = threading.active_count()
        hung = []
        for _ in range(40):
            client = socket.create_connection(("127.0.0.1", site.listener.port))
            hung.append(stack.enter_context(closing(client)))
        assert threading.active_count() - before <= MAX_AT_ONCE
        deadline = time.monotonic() + 45
        while True:  # drips, so that no single wait is long
            for client in hung:
                with suppress(OSError):
                    client.sendall(b"G")
            with suppress(OSError, http.client.HTTPException):
                assert site.get("/healthz") == (200, "ok\n")
                break
            assert time.monotonic() < deadline
