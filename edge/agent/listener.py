"""The agent's own /metrics and /healthz, for who looks at the device itself. Answers GET and
nothing else; imported only when it is wanted.
"""

from __future__ import annotations

import io
import threading
import time
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from edge.errors import ConfigError
from edge.keeping.http_probe import Timed

TIMEOUT_S = 10.0
"""For all of a request: one that comes byte by byte is none."""
MAX_AT_ONCE = 8
Answer = tuple[int, str, str]
"""Status, content type, body."""


class Listener:
    """``metrics`` and ``health``: the numbers and whether all is well, asked at each request."""

    def __init__(
        self,
        address: str,
        port: int,
        *,
        metrics: Callable[[], Mapping[str, float]],
        health: Callable[[], str | None],
    ) -> None:
        """``health`` returns what is wrong, or None. Raises ConfigError."""

        def answer(path: str) -> Answer:
            if path == "/metrics":
                return 200, "text/plain; version=0.0.4", exposition(metrics())
            if path == "/healthz":
                trouble = health()
                return (503 if trouble else 200), "text/plain", (trouble or "ok") + "\n"
            return 404, "text/plain", "there are /metrics and /healthz\n"

        class Handler(BaseHTTPRequestHandler):
            timeout = TIMEOUT_S
            protocol_version = "HTTP/1.1"
            server_version = "inferry-edge"
            sys_version = ""

            def setup(self) -> None:
                super().setup()
                timed = Timed(self.connection, time.monotonic() + TIMEOUT_S)
                self.rfile = io.BufferedReader(timed)

            def do_GET(self) -> None:
                status, kind, body = answer(self.path.partition("?")[0])
                self.send_response(status)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(body.encode())))
                self.send_header("Connection", "close")
                self.end_headers()
                self.wfile.write(body.encode())
                self.close_connection = True

            def log_message(self, format: str, *args: object) -> None:
                """Requests are no news."""

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            free = threading.Semaphore(MAX_AT_ONCE)

            def process_request(self, request: Any, client_address: Any) -> None:
                """No more threads than that, whoever comes."""
                if not self.free.acquire(blocking=False):
                    self.shutdown_request(request)
                    return
                try:
                    super().process_request(request, client_address)
                except BaseException:
                    self.free.release()
                    raise

            def process_request_thread(self, request: Any, client_address: Any) -> None:
                try:
                    super().process_request_thread(request, client_address)
                finally:
                    self.free.release()

            def handle_error(self, request: object, client_address: object) -> None:
                """A client that went away is no news."""

        try:
            self._server = Server((address, port), Handler)
        except OSError as error:
            raise ConfigError(
                f"listen.port {port} of {address} cannot be used: {error.strerror}"
            ) from error
        self.port = int(self._server.server_address[1])

    def work(self, stopping: threading.Event) -> None:
        """Until the end."""
        waiter = threading.Thread(target=self._wait, args=(stopping,), daemon=True)
        waiter.start()
        self._server.serve_forever(poll_interval=0.5)

    def close(self) -> None:
        """The port is free afterwards."""
        self._server.server_close()

    def _wait(self, stopping: threading.Event) -> None:
        stopping.wait()
        self._server.shutdown()


def exposition(metrics: Mapping[str, float]) -> str:
    """As Prometheus reads it."""
    return "".join(
        f"# TYPE inferry_edge_{name} gauge\ninferry_edge_{name} {value:g}\n"
        for name, value in metrics.items()
    )
