"""HTTP for the controller's pages: GET only, one request a connection, a bounded number of them,
each for a bounded time."""

from __future__ import annotations

import contextlib
import io
import logging
import socket
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self

from edge.keeping.http_probe import Timed
from runtime.controller_service.pages import ROUTES, Page, Pages
from runtime.errors import BadValueError

CONNECTIONS = 16
"""At once."""
REQUEST_S = 10.0
"""For a client to say what it wants, and again to read it."""
logger = logging.getLogger("inferry.deployments")
_BUSY = (
    b"HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\nRetry-After: 1\r\n"
    b"Content-Length: 0\r\n\r\n"
)


class Server:
    """Listens while it is entered. Raises BadValueError where it cannot."""

    def __init__(self, host: str, port: int, pages: Pages) -> None:
        self._host, self._asked_port, self._pages = host, port, pages
        self._server: _Server | None = None
        self._thread: threading.Thread | None = None
        self.port = port

    def __repr__(self) -> str:
        return f"Server({self._host}, {self.port})"

    @property
    def url(self) -> str:
        """Where it is, without a path."""
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"http://{host}:{self.port}"

    def __enter__(self) -> Self:
        where = f"{self._host}, port {self._asked_port}"
        try:
            self._server = _server(self._host, self._asked_port, self._pages)
        except (OSError, OverflowError, UnicodeError) as error:
            why = getattr(error, "strerror", None) or error
            raise BadValueError(f"the controller cannot listen on {where}: {why}") from error
        self.port = self._server.server_address[1]
        self._thread = threading.Thread(
            target=self._server.serve_forever,
            kwargs={"poll_interval": 0.2},
            name="the controller's page",
            daemon=True,
        )
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        assert self._server is not None
        assert self._thread is not None
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 64
    pages: Pages

    def __init__(self, *args: Any, **named: Any) -> None:
        self.places = threading.BoundedSemaphore(CONNECTIONS)
        super().__init__(*args, **named)

    def server_bind(self) -> None:
        # HTTPServer's would look for a name of the address, which may take long.
        if self.address_family == socket.AF_INET6:
            with contextlib.suppress(OSError):
                self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(self.server_address)
        self.server_address = self.socket.getsockname()
        self.server_name, self.server_port = str(self.server_address[0]), self.server_address[1]

    def verify_request(self, request: Any, client_address: Any) -> bool:
        if self.places.acquire(blocking=False):
            return True
        with contextlib.suppress(OSError):
            request.setblocking(False)
            request.send(_BUSY)
        return False

    def process_request(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request(request, client_address)
        except BaseException:  # no thread could be started, so none gives the place back
            self.places.release()
            raise

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self.places.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        logger.debug("the controller's page", exc_info=True)


def _server(host: str, port: int, pages: Pages) -> _Server:
    """Raises OSError."""
    family, _, _, _, address = socket.getaddrinfo(
        host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[0]

    class Bound(_Server):
        address_family = family

    found = Bound(address, _Handler)
    found.pages = pages
    return found


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def setup(self) -> None:
        super().setup()
        self.connection.settimeout(REQUEST_S)
        self.rfile.close()
        timed = Timed(self.connection, time.monotonic() + REQUEST_S)
        self.rfile = io.BufferedReader(timed)

    def handle(self) -> None:
        self.close_connection = True
        with contextlib.suppress(OSError):  # it went away, or was too slow
            self.handle_one_request()

    def do_GET(self) -> None:
        self._answer(self.server.pages.page(self.path))

    do_HEAD = do_GET

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        self.request_version = self.protocol_version  # else it answers without a head
        if code == 501:
            code, message = 405, f"there is {ROUTES}"
        body = ascii(message or "that is no request")[1:-1][:200].encode() + b"\n"
        self._answer(Page(code, "text/plain; charset=utf-8", body))

    def log_message(self, format: str, *args: Any) -> None:
        logger.debug("the controller's page: %s", format % args)

    def _answer(self, page: Page) -> None:
        self.connection.settimeout(REQUEST_S)
        self.send_response(page.status)
        self.send_header("Content-Type", page.content_type)
        self.send_header("Content-Length", str(len(page.body)))
        self.send_header("X-Content-Type-Options", "nosniff")
        if page.status == 405:
            self.send_header("Allow", "GET, HEAD")
        self.send_header("Connection", "close")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(page.body)

    def version_string(self) -> str:
        return "inferry"
