"""A server that answers as a test says, and whose requests can be looked at."""

from __future__ import annotations

import itertools
import ssl
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Protocol

import pytest

Answer = tuple[int, dict[str, str], bytes] | None
"""None: the connection ends without one."""
GOOD: Answer = (200, {}, b"{}")


@dataclass(slots=True)
class Target:
    """``seen``: headers and body of each request."""

    url: str
    seen: list[tuple[dict[str, str], bytes]] = field(default_factory=list)


class Targets(Protocol):
    """``answer``: of the n-th request."""

    def __call__(
        self, answer: Callable[[int], Answer] = lambda n: GOOD, tls: ssl.SSLContext | None = None
    ) -> Target: ...


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128


@pytest.fixture
def targets() -> Iterator[Targets]:
    servers: list[ThreadingHTTPServer] = []

    def start(
        answer: Callable[[int], Answer] = lambda n: GOOD, tls: ssl.SSLContext | None = None
    ) -> Target:
        target, numbers = Target(""), itertools.count()

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                found = answer(next(numbers))
                target.seen.append((dict(self.headers), body))
                if found is None:
                    self.close_connection = True
                    return
                status, headers, text = found
                self.send_response(status)
                for name, value in {"Content-Length": str(len(text)), **headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(text)

            def log_message(self, format: str, *args: object) -> None:
                """Silent."""

        server = _Server(("127.0.0.1", 0), Handler)
        if tls is not None:
            server.socket = tls.wrap_socket(server.socket, server_side=True)
        servers.append(server)
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        scheme = "http" if tls is None else "https"
        target.url = f"{scheme}://127.0.0.1:{server.server_address[1]}/score"
        return target

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()
