"""The process that sends at a fixed rate."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from benchmarks.deployments.traffic import CUT, REFUSED, RIGHT, WRONG, Asked, Rate, Sending, Traffic
from benchmarks.wire import Request
from tests.ports import free_port
from tests.runtime.deployments.waiting import eventually

REQUEST = Request("/score", b"{}").bytes()
pytestmark = pytest.mark.slow


class Server(ThreadingHTTPServer):
    """Answers in turn: right, wrong, 500, not at all, and one that waits for ``release``."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self) -> None:
        self.count, self.release = 0, threading.Event()
        super().__init__(("127.0.0.1", 0), Handler)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Server

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        turn = self.server.count
        self.server.count += 1
        body = b'{"answer": 3}' if turn == 1 else b'{"answer": 2, "revision": 7}'
        if turn == 3:
            self.close_connection = True
            return
        if turn == 4:
            self.server.release.wait(60)
        self.send_response(500 if turn == 2 else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Silent."""


@pytest.fixture
def server() -> Iterator[Server]:
    found = Server()
    thread = threading.Thread(target=found.serve_forever, args=(0.02,))
    thread.start()
    yield found
    found.release.set()
    found.shutdown()
    thread.join()
    found.server_close()


def test_each_request_is_sent_when_it_is_due_and_judged(server: Server, tmp_path: Path) -> None:
    port = server.server_address[1]
    sending = Sending(port, [Asked(REQUEST, rb'"answer": 2\b')], [Rate(20.0, 0.5), Rate(1e-6)])
    with Traffic(sending, tmp_path) as traffic:
        eventually(lambda: server.count == 10)  # though one is not answered
        server.release.set()
    fates = sorted(each.fate for each in traffic.requests)
    assert fates == sorted([*[RIGHT] * 7, WRONG, "status 500", CUT])
    assert sum(each.revision == 7 for each in traffic.requests) == 8
    due = sorted(each.due_s - traffic.began_s for each in traffic.requests)
    assert due == pytest.approx([number / 20 for number in range(10)])
    assert max(each.took_s for each in traffic.requests) > 0.1  # the one that was held


def test_who_is_not_there_refuses(tmp_path: Path) -> None:
    sending = Sending(free_port(), [Asked(REQUEST, b"")], [Rate(50.0)])
    with Traffic(sending, tmp_path) as traffic:
        began_s = time.monotonic()
        eventually(lambda: time.monotonic() - began_s > 0.2)
    assert {each.fate for each in traffic.requests} == {REFUSED}
