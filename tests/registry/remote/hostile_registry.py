"""A registry on loopback that does what a test says, right or wrong.

with HostileRegistry() as registry:
    registry.serve(store)                          # as a good one would, from a store
    registry.on("GET", r"/v2/x/blobs/.*", wrong)   # the latest that matches answers
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType

from registry import media_types
from registry.blobs import BlobStore

Route = Callable[["Exchange"], None]


class Exchange(BaseHTTPRequestHandler):
    """One request; routes answer with these."""

    protocol_version = "HTTP/1.1"
    timeout = 20
    disable_nagle_algorithm = True

    def reply(
        self, status: int, body: bytes = b"", headers: Mapping[str, str] | None = None
    ) -> None:
        """An answer with its length."""
        sent = {"Content-Length": str(len(body)), **(headers or {})}
        self.send_response(status)
        for name, value in sent.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def body(self, limit: int | None = None) -> bytes:
        """What was sent; at most ``limit`` bytes of it."""
        size = int(self.headers.get("Content-Length", 0))
        return self.rfile.read(size if limit is None else min(size, limit))

    def cut(self) -> None:
        """No answer, or no more of it."""
        self.wfile.flush()
        self.close_connection = True

    def log_message(self, format: str, *args: object) -> None:
        """Nothing."""


class HostileRegistry:
    """``seen``: each request as ``GET /path``; ``authorizations``: what came with each."""

    def __init__(self) -> None:
        self.seen: list[str] = []
        self.authorizations: list[str | None] = []
        self._routes: list[tuple[str, re.Pattern[str], Route]] = []
        self.ending = threading.Event()
        self.guard: Callable[[Exchange], bool] = lambda exchange: True
        """Whether a request may pass; one that may not has been answered."""
        outer = self

        class Handler(Exchange):
            def _any(self) -> None:
                outer._answer(self)

            do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = _any

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            block_on_close = False

            def handle_error(self, request: object, client_address: object) -> None:
                """The client went away, as it should."""

        self._server = Server(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self.on("GET", "/v2/", lambda exchange: exchange.reply(200))

    @property
    def host(self) -> str:
        """As in a reference."""
        return f"127.0.0.1:{self._server.server_address[1]}"

    def on(self, method: str, path: str, route: Route) -> None:
        """Answer requests whose path matches all of ``path``."""
        self._routes.insert(0, (method, re.compile(path), route))

    def give(
        self,
        path: str,
        body: bytes = b"",
        *,
        status: int = 200,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        """That answer to GET and HEAD."""
        for method in ("GET", "HEAD"):
            self.on(method, path, lambda exchange: exchange.reply(status, body, headers))

    def serve(self, store: BlobStore, name: str = "x", **tags: str) -> None:
        """What the store has, by digest and by these tags."""

        def document(exchange: Exchange) -> None:
            target = exchange.path.rpartition("/")[2]
            data = store.read(tags.get(target, target))
            kind = media_types.INDEX if b'"manifests"' in data else media_types.MANIFEST
            exchange.reply(200, data, {"Content-Type": kind})

        def blob(exchange: Exchange) -> None:
            exchange.reply(200, store.read(exchange.path.rpartition("/")[2]))

        self.on("GET", f"/v2/{name}/manifests/.*", document)
        self.on("GET", f"/v2/{name}/blobs/.*", blob)

    def _answer(self, exchange: Exchange) -> None:
        self.seen.append(f"{exchange.command} {exchange.path}")
        self.authorizations.append(exchange.headers.get("Authorization"))
        if not self.guard(exchange):
            return
        for method, path, route in self._routes:
            if method == exchange.command and path.fullmatch(exchange.path):
                route(exchange)
                return
        exchange.body()
        exchange.reply(404)

    def __enter__(self) -> HostileRegistry:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.ending.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
