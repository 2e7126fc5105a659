"""Receivers of webhooks: a well-behaved one that keeps what it got, and raw ones that do what they
like with a connection."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass(frozen=True, slots=True)
class Got:
    """One request."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


@dataclass(slots=True)
class Say:
    """One answer."""

    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class Receiver:
    """``says``: the answers, one after the other; the last one for ever."""

    url: str = ""
    got: list[Got] = field(default_factory=list)
    says: list[Say] = field(default_factory=lambda: [Say()])

    def next(self, got: Got) -> Say:
        self.got.append(got)
        return self.says.pop(0) if len(self.says) > 1 else self.says[0]


@contextlib.contextmanager
def receiving(
    *says: Say, tls: ssl.SSLContext | None = None, decide: Callable[[Got], Say] | None = None
) -> Iterator[Receiver]:
    found = Receiver()
    if says:
        found.says = list(says)

    class Handler(BaseHTTPRequestHandler):
        def answer(self) -> None:
            length = int(self.headers.get("Content-Length", "0"))
            got = Got(self.command, self.path, dict(self.headers.items()), self.rfile.read(length))
            say = found.next(got) if decide is None else decide(got)
            self.send_response(say.status)
            for name, value in say.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(say.body)))
            self.end_headers()
            with contextlib.suppress(OSError):
                self.wfile.write(say.body)

        do_POST = answer
        do_GET = answer

        def log_message(self, format: str, *args: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        def handle_error(self, request: object, client_address: object) -> None:
            pass  # a client that does not trust it hangs up

    with Server(("127.0.0.1", 0), Handler) as server:
        if tls is not None:
            server.socket = tls.wrap_socket(server.socket, server_side=True)
        scheme = "http" if tls is None else "https"
        found.url = f"{scheme}://localhost:{server.server_address[1]}/hook"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield found
        finally:
            server.shutdown()
            thread.join()


@contextlib.contextmanager
def raw(serve: Callable[[socket.socket, threading.Event], None]) -> Iterator[str]:
    """The URL of a server that does ``serve`` with each connection, until the event is set."""
    over = threading.Event()
    threads: list[threading.Thread] = []

    def one(link: socket.socket) -> None:
        with link, contextlib.suppress(OSError):
            link.settimeout(20)
            serve(link, over)

    def accept(listener: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while not over.is_set():
                link, _ = listener.accept()
                threads.append(threading.Thread(target=one, args=(link,)))
                threads[-1].start()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(20)
        port = listener.getsockname()[1]
        thread = threading.Thread(target=accept, args=(listener,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{port}/hook"
        finally:
            over.set()
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 5):
                pass
            for each in (thread, *threads):
                each.join(60)
