"""The agent's own HTTP endpoint for applications: a Unix socket for each module, so that who speaks
is known by where it speaks. (A container sees it as /run/inferry/agent.sock.)

    POST   /telemetry   see submissions.py; 202 once the records are durable on this device
    PUT    /lock        {"reason": "...", "ttl_s": 600}: no update is switched in meanwhile
    DELETE /lock        it may be again
    POST   /ready       for modules that are updated "when ready": now is a good time
    GET    /            {"module": ..., "time_ms": ...}

    curl --unix-socket $INFERRY_AGENT_SOCKET http://agent/telemetry -d '{"kind": "x", "body": 1}'

Errors are {"error": "..."}; 429 and 503 say when to come back. Clients that are slow, large or
silent take one of a bounded number of threads for a bounded time.
"""

from __future__ import annotations

import contextlib
import errno
import io
import json
import logging
import os
import socket
import socketserver
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any, Protocol

from edge.errors import OutboxError
from edge.outbox.record import NewRecord
from edge.telemetry.submissions import Refused, read

log = logging.getLogger(__name__)
SOCKET = "agent.sock"
MAX_BODY_BYTES = 2 * 1024 * 1024
CONNECTIONS = 16
"""At once, of one module."""
REQUEST_S = 15.0
IDLE_S = 60.0
SWALLOW_S = 2.0
POLL_S = 0.5
"""How long its end may take; a device need not wake up for it more often."""
MAX_LOCK_S = 7 * 86_400.0


class Locks(Protocol):
    """Of edge/switch/locks.py, what is needed here."""

    def hold(self, module: str, reason: str, ttl_s: float) -> None: ...
    def release(self, module: str) -> None: ...
    def set_ready(self, module: str) -> None: ...


Append = Callable[[Sequence[NewRecord]], object]
"""Returns once the records are durable. Raises OutboxError."""


class ModuleEndpoint:
    """Of one module, in ``folder``. Its threads begin with ``open`` and end with ``close``."""

    def __init__(
        self,
        module: str,
        folder: Path,
        append: Append,
        locks: Locks,
        *,
        hub_now_ms: Callable[[], int | None] = lambda: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.module = module
        self.path = folder / SOCKET
        self.append = append
        self.locks = locks
        self.hub_now_ms = hub_now_ms
        self.clock = clock
        self.places = threading.BoundedSemaphore(CONNECTIONS)
        self._server: _Server | None = None

    def open(self) -> None:
        """Raises OSError. A socket that a killed agent left is replaced."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(FileNotFoundError):
            self.path.unlink()
        server = _Server(str(self.path), self)
        try:
            # The container's user is none of this machine; its folder decides who reaches it.
            os.chmod(self.path, 0o666)
            threading.Thread(
                target=server.serve_forever,
                kwargs={"poll_interval": POLL_S},
                name=f"endpoint of {self.module}",
                daemon=True,
            ).start()
        except BaseException as error:
            server.server_close()  # and no shutdown, which waits for the thread
            if isinstance(error, RuntimeError):
                raise OSError(errno.EAGAIN, "no thread can be started") from error
            raise
        self._server = server

    def close(self) -> None:
        """Idempotent."""
        server, self._server = self._server, None
        if server is not None:
            server.shutdown()
            server.server_close()
            with contextlib.suppress(FileNotFoundError):
                self.path.unlink()


_BUSY = (
    b"HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\nRetry-After: 1\r\n"
    b"Content-Type: application/json\r\nContent-Length: 41\r\n\r\n"
    b'{"error": "too many connections at once"}'
)


class _Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 64

    def __init__(self, path: str, endpoint: ModuleEndpoint) -> None:
        self.endpoint = endpoint
        with _short(Path(path)) as address:
            super().__init__(address, _Handler)

    def verify_request(self, request: Any, client_address: Any) -> bool:
        if self.endpoint.places.acquire(blocking=False):
            return True
        with contextlib.suppress(OSError):
            request.setblocking(False)
            request.send(_BUSY)
        return False

    def process_request(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request(request, client_address)
        except BaseException:  # no thread could be started, so none gives the place back
            self.endpoint.places.release()
            raise

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self.endpoint.places.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        log.debug("the endpoint of %s", self.endpoint.module, exc_info=True)


class _Timed(io.RawIOBase):
    """A socket that is read until ``deadline_s``: its own timeout begins anew with each byte."""

    def __init__(self, link: socket.socket, clock: Callable[[], float]) -> None:
        super().__init__()
        self.deadline_s = 0.0
        self._link = link
        self._clock = clock

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        left_s = self.deadline_s - self._clock()
        if left_s <= 0:
            raise TimeoutError
        self._link.settimeout(left_s)
        return self._link.recv_into(buffer)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def setup(self) -> None:
        super().setup()
        self.rfile.close()
        self._timed = _Timed(self.connection, self.server.endpoint.clock)
        self.rfile = io.BufferedReader(self._timed)

    def handle_one_request(self) -> None:
        self._within(IDLE_S)
        super().handle_one_request()

    def _within(self, seconds: float) -> None:
        self._timed.deadline_s = self.server.endpoint.clock() + seconds

    def do_GET(self) -> None:
        endpoint = self.server.endpoint
        if self.path != "/":
            self._refuse(404, "there is GET /, POST /telemetry, PUT and DELETE /lock, POST /ready")
        else:
            self._answer(200, {"module": endpoint.module, "time_ms": endpoint.hub_now_ms()})

    def do_POST(self) -> None:
        endpoint = self.server.endpoint
        body = self._body()
        if body is None:
            return
        if self.path == "/ready":
            endpoint.locks.set_ready(endpoint.module)
            self._answer(200, {"ready": True})
        elif self.path != "/telemetry":
            self._refuse(404, "POST /telemetry or /ready")
        else:
            self._telemetry(body)

    def do_PUT(self) -> None:
        body = self._body()
        if body is None:
            return
        if self.path != "/lock":
            self._refuse(404, "PUT /lock")
            return
        try:
            reason, ttl_s = _lock(body)
        except ValueError as error:
            self._refuse(400, str(error))
            return
        endpoint = self.server.endpoint
        endpoint.locks.hold(endpoint.module, reason, ttl_s)
        self._answer(200, {"locked": True})

    def do_DELETE(self) -> None:
        if self._body() is None:
            return
        if self.path != "/lock":
            self._refuse(404, "DELETE /lock")
            return
        self.server.endpoint.locks.release(self.server.endpoint.module)
        self._answer(200, {"locked": False})

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        self.request_version = self.protocol_version  # else it answers without a head
        self._refuse(code, ascii(message or "that is no request")[1:200], is_last=True)

    def log_message(self, format: str, *args: Any) -> None:
        log.debug("%s: %s", self.server.endpoint.module, format % args)

    def address_string(self) -> str:
        return self.server.endpoint.module

    def _telemetry(self, body: bytes) -> None:
        endpoint = self.server.endpoint
        try:
            records = read(body, self.headers.get("Content-Type", ""), endpoint.module)
        except Refused as error:
            self._refuse(400, str(error))
            return
        try:
            endpoint.append(records)
        except OutboxError as error:
            self._refuse(503, str(error), retry_after_s=5)
            return
        self._answer(202, {"stored": len(records)})

    def _body(self) -> bytes | None:
        """None: an answer was given already."""
        length = self.headers.get("Content-Length", "0")
        if self.headers.get("Transfer-Encoding"):
            self._refuse(411, "say the Content-Length; chunks are not taken", is_last=True)
        elif not (length.isascii() and length.isdigit() and len(length) < 16):
            self._refuse(400, "the Content-Length is no number", is_last=True)
        elif int(length) > MAX_BODY_BYTES:
            self._refuse(413, f"a body of {length} bytes; at most {MAX_BODY_BYTES}", is_last=True)
            self._swallow(int(length))
        else:
            return self._read(int(length))
        return None

    def _read(self, length: int) -> bytes | None:
        """All of it within REQUEST_S, however the bytes drip."""
        self._within(REQUEST_S)
        with contextlib.suppress(OSError):
            body = self.rfile.read(length)
            if len(body) == length:
                return body
        self.close_connection = True
        return None

    def _swallow(self, length: int) -> None:
        """Some clients read the answer only after they have sent all."""
        self._within(SWALLOW_S)
        with contextlib.suppress(OSError):
            while length > 0 and (piece := self.rfile.read1(65_536)):
                length -= len(piece)

    def _refuse(
        self, status: int, error: str, *, is_last: bool = False, retry_after_s: int | None = None
    ) -> None:
        self.close_connection = self.close_connection or is_last
        self._answer(status, {"error": error}, retry_after_s)

    def _answer(
        self, status: int, document: dict[str, object], retry_after_s: int | None = None
    ) -> None:
        data = json.dumps(document).encode()
        self.connection.settimeout(REQUEST_S)
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        if retry_after_s is not None:
            self.send_header("Retry-After", str(retry_after_s))
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(data)


def _lock(body: bytes) -> tuple[str, float]:
    """Raises ValueError."""
    try:
        found = json.loads(body or b"{}")
    except (ValueError, RecursionError) as error:
        raise ValueError("the body is no JSON") from error
    if not isinstance(found, dict) or not set(found) <= {"reason", "ttl_s"}:
        raise ValueError('send {"reason": "...", "ttl_s": seconds}')
    reason, ttl_s = found.get("reason", "the application"), found.get("ttl_s", 3600)
    reason = " ".join(reason.split()) if isinstance(reason, str) else ""
    if not 0 < len(reason) <= 200 or not reason.isprintable():
        raise ValueError("reason: a text of at most 200 characters")
    if (
        isinstance(ttl_s, bool)
        or not isinstance(ttl_s, (int, float))
        or not 0 < ttl_s <= MAX_LOCK_S
    ):
        raise ValueError("ttl_s: seconds, more than 0 and at most a week")
    return reason, float(ttl_s)


@contextlib.contextmanager
def _short(path: Path) -> Iterator[str]:
    """An address for a socket's path, of which the kernel takes 107 bytes: a longer one goes by
    the folder's descriptor."""
    if len(os.fsencode(path)) < 107:
        yield str(path)
        return
    folder = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)


def connect(path: Path) -> socket.socket:
    """A client's connection to an endpoint; for tests and tools."""
    link = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        with _short(path) as address:
            link.connect(address)
    except OSError:
        link.close()
        raise
    return link
