"""One HTTP exchange with a server that may be hostile; redirects, logins and retries are others'.

The only module of this package that names httpx's transport, httpcore: one level below httpx a
connection can be made to an address that was looked up once and checked, and every wait can be
bounded and cancelled. Bodies arrive as they were sent: nothing is decompressed.

    with connections.exchange("GET", url, headers) as answer:
        answer.status, answer.header("content-type"), answer.read(limit)
"""

from __future__ import annotations

import ssl
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any

import httpcore

from registry.errors import RemoteError
from registry.remote import addresses
from registry.remote.addresses import Reach
from registry.remote.failures import CutError, UnreachableError, not_connected, trusted
from registry.remote.urls import Url
from registry.remote.waits import SLICE_S, USUAL_TIMEOUTS, Timeouts, Waits

CONNECTIONS = 8
DRAINED_BYTES = 64 * 1024
"""An answer of up to this size is read to its end, so that its connection can be used again."""


@dataclass(frozen=True, slots=True)
class Body:
    """What is sent; ``open`` gives it from its start each time."""

    size_bytes: int
    open: Callable[[], Iterator[bytes]]


class Answer:
    """Status, headers and a body that is read once."""

    def __init__(self, response: httpcore.Response, owner: Connections, url: Url) -> None:
        self.status = response.status
        self.url = url
        self._response = response
        self._owner = owner
        self._is_read = False

    def header(self, name: str) -> str | None:
        """The first of that name."""
        return next(iter(self.headers(name)), None)

    def headers(self, name: str) -> list[str]:
        """All of that name, given in lower case."""
        wanted = name.encode()
        return [v.decode("latin-1") for k, v in self._response.headers if k.lower() == wanted]

    @property
    def size_bytes(self) -> int | None:
        """What Content-Length says."""
        text = self.header("content-length") or ""
        return int(text[:18]) if text.isascii() and text.isdigit() else None

    def chunks(self) -> Iterator[bytes]:
        """The body; of any length. Raises CutError if it ends early."""
        with self._owner.translated(self.url):
            yield from self._response.iter_stream()
        self._is_read = True

    def read(self, limit: int, what: str = "answer") -> bytes:
        """All of a body of at most ``limit`` bytes. Raises RemoteError for a longer one."""
        data = self.read_some(limit + 1)
        if len(data) > limit:
            raise RemoteError(f"{self.url.authority} sends a {what} of more than {limit} bytes")
        return data

    def read_some(self, limit: int) -> bytes:
        """At most ``limit`` bytes of the body."""
        parts: list[bytes] = []
        size = 0
        with self._owner.deadline():
            for chunk in self.chunks():
                parts.append(chunk)
                size += len(chunk)
                if size >= limit:
                    break
        return b"".join(parts)[:limit]

    def close(self) -> None:
        """Gives the connection back."""
        if not self._is_read and (self.size_bytes or 0) <= DRAINED_BYTES:
            with suppress(RemoteError):
                self.read_some(DRAINED_BYTES + 1)
        self._response.close()

    def __enter__(self) -> Answer:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is None:
            self.close()
        else:
            self._response.close()


class Connections:
    """Connections to one registry and to where it sends us. Threads may share it.

    ``check`` is called often while waiting, and raises to stop. With ``only_public`` the registry
    itself, which a stranger named, may be at no address that is not everyone's."""

    def __init__(
        self,
        registry: Url,
        *,
        ca_file: Path | None = None,
        only_public: bool = False,
        check: Callable[[], None] = lambda: None,
        timeouts: Timeouts = USUAL_TIMEOUTS,
    ) -> None:
        self._timeouts = timeouts
        self._waits = Waits(check)
        self._pool = httpcore.ConnectionPool(
            ssl_context=trusted(ca_file),
            max_connections=CONNECTIONS,
            max_keepalive_connections=CONNECTIONS,
            keepalive_expiry=30.0,
            network_backend=_Backend(registry, self._waits, only_public=only_public),
        )

    def exchange(
        self, method: str, url: Url, headers: Mapping[str, str], body: Body | None = None
    ) -> Answer:
        """Send and wait for the headers of the answer. Raises RemoteError, CutError."""
        sent = {"Host": url.authority, "Accept-Encoding": "identity", **headers}
        if body is not None or method in ("POST", "PUT", "PATCH"):
            sent["Content-Length"] = str(body.size_bytes if body else 0)
        times = self._timeouts
        with self.translated(url), self.deadline(after_body=body is not None):
            response = self._pool.handle_request(
                httpcore.Request(
                    method,
                    httpcore.URL(
                        scheme=url.scheme.encode(),
                        host=url.host.encode(),
                        port=url.port,
                        target=url.target.encode(),
                    ),
                    headers=[(k.encode(), v.encode()) for k, v in sent.items()],
                    content=self._sent(body) if body is not None else None,
                    extensions={
                        "timeout": {
                            "connect": times.connect_s,
                            "read": times.read_s,
                            "write": times.read_s,
                            "pool": times.answer_s,
                        }
                    },
                )
            )
        return Answer(response, self, url)

    @contextmanager
    def deadline(self, *, after_body: bool = False) -> Iterator[None]:
        """For the block, this thread waits for reading at most ``answer_s`` in all; with
        ``after_body`` from when the body was sent."""
        self._waits.until(None if after_body else time.monotonic() + self._timeouts.answer_s)
        try:
            yield
        finally:
            self._waits.until(None)

    @contextmanager
    def translated(self, url: Url) -> Iterator[None]:
        """Turns what the network does into RemoteErrors."""
        try:
            yield
        except (httpcore.TimeoutException, httpcore.NetworkError, httpcore.ProtocolError) as error:
            raise _explained(error, url) from error

    def close(self) -> None:
        """Ends all connections."""
        self._pool.close()

    def _sent(self, body: Body) -> Iterator[bytes]:
        for chunk in body.open():
            self._waits.check()
            yield chunk
        self._waits.until(time.monotonic() + self._timeouts.answer_s)


class _Backend(httpcore.NetworkBackend):
    """Looks a host up once, and connects only to what the registry may send us to."""

    def __init__(self, registry: Url, waits: Waits, *, only_public: bool) -> None:
        self._registry = registry
        self._waits = waits
        self._only_public = only_public
        self._limit: Reach | None = None
        self._inner = httpcore.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        failure: Exception | None = None
        for address in self._allowed(host, port):
            connect = partial(
                self._inner.connect_tcp, address, port, timeout, local_address, socket_options
            )
            try:
                return _Stream(self._waits.apart(connect, _close), self._waits)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failure = failure or error
        assert failure is not None
        raise failure

    def _allowed(self, host: str, port: int) -> list[str]:
        found = self._resolved(host, port)
        if self._only_public:  # wherever the registry sends us
            return _public(host, found)
        if (host, port) == (self._registry.host, self._registry.port):
            if host == "localhost":  # plain HTTP is for this machine, whatever its hosts file says
                found = [a for a in found if addresses.reach_of(a) == Reach.LOOPBACK]
            if not found:
                raise RemoteError("localhost has no loopback address; check /etc/hosts")
            self._limit = _farther(self._limit, addresses.limit_of(found))
            return found
        if self._limit is None:
            known = self._resolved(self._registry.host, self._registry.port)
            self._limit = addresses.limit_of(known)
        allowed = addresses.within(found, self._limit)
        if not allowed:
            raise RemoteError(
                f"the registry sends us to {host}, a {addresses.reach_of(found[0]).name.lower()}"
                f" address ({found[0]}), which is not followed"
            )
        return allowed

    def _resolved(self, host: str, port: int) -> list[str]:
        return self._waits.apart(lambda: _resolved(host, port), lambda _: None)


class _Stream(httpcore.NetworkStream):
    """A connection whose reads end at the thread's deadline, or when the operation is stopped."""

    def __init__(self, inner: httpcore.NetworkStream, waits: Waits) -> None:
        self._inner = inner
        self._waits = waits

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        end = self._waits.end(timeout)
        while True:
            self._waits.check()
            left = end - time.monotonic()
            if left <= 0:
                raise httpcore.ReadTimeout("nothing came")
            with suppress(httpcore.ReadTimeout):
                return self._inner.read(max_bytes, min(left, SLICE_S))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._inner.write(buffer, timeout)

    def close(self) -> None:
        self._inner.close()

    def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> httpcore.NetworkStream:
        shake_hands = partial(self._inner.start_tls, ssl_context, server_hostname, timeout)
        return _Stream(self._waits.apart(shake_hands, _close), self._waits)

    def get_extra_info(self, info: str) -> Any:
        return self._inner.get_extra_info(info)


def _farther(known: Reach | None, found: Reach) -> Reach:
    """A registry that was far away once leads to nothing near, whatever its name means now."""
    return found if known is None else min(known, found)


def _public(host: str, found: list[str]) -> list[str]:
    """What was looked up is what is connected to: a name cannot change its meaning in between."""
    public = addresses.within(found, Reach.PUBLIC)
    if not public:
        raise RemoteError(
            f"{host} is no public address, and the service may not be sent to others; its operator"
            " can allow it"
        )
    return public


def _close(stream: httpcore.NetworkStream) -> None:
    stream.close()


def _resolved(host: str, port: int) -> list[str]:
    try:
        found = addresses.resolve(host, port)
    except (OSError, UnicodeError):
        found = []
    if not found:
        raise UnreachableError(f"there is no host {host}; check its name and the network (DNS)")
    return found


def _explained(error: Exception, url: Url) -> RemoteError:
    host = url.authority
    # httpcore passes what happened as the argument; its pool takes the cause away.
    cause = error.args[0] if error.args else None
    if isinstance(error, httpcore.ConnectError):
        return not_connected(cause, host)
    if isinstance(error, httpcore.ConnectTimeout):
        return RemoteError(f"{host} does not answer; check its name, its port and the network")
    was_cut = "closed" in str(error) or "disconnected" in str(error)
    if isinstance(error, httpcore.ProtocolError) and not was_cut:
        return RemoteError(f"{host} does not answer as HTTP should; check its name and port")
    if isinstance(error, httpcore.TimeoutException):
        return CutError(f"{host} stopped answering; try again")
    return CutError(f"{host} cut the connection; try again")
