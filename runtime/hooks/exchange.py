"""One HTTP exchange with a deadline of the whole, whatever the other side does.

It goes straight to the host of the URL (no proxy), follows no redirect, and reads a bounded part of
what is answered. A certificate is verified as always.
"""

from __future__ import annotations

import contextlib
import http.client
import socket
import ssl
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import cast
from urllib.parse import SplitResult, urlsplit

from edge.keeping.http_probe import Timed

MAX_READ_BYTES = 2048
READ_S = 1.0
"""For the body of an answer whose status is there."""


@dataclass(frozen=True, slots=True)
class Reply:
    """``body``: its beginning, as far as it came; the rest as the headers have it."""

    status: int
    body: bytes = b""
    retry_after: str | None = None
    location: str | None = None


def exchanged(
    url: str,
    body: bytes | None,
    headers: Mapping[str, str],
    timeout_s: float,
    *,
    tls: ssl.SSLContext | None = None,
) -> Reply:
    """A POST of JSON, or a GET where there is no body. ``tls``: whom to trust, as the system does
    for None. Raises OSError (TimeoutError where the time is over), HTTPException, ValueError."""
    deadline = time.monotonic() + timeout_s
    if not (url.isascii() and url.isprintable()):
        raise ValueError("the URL is not one line of ASCII")
    parts = urlsplit(url)
    said = {"Host": parts.netloc, "User-Agent": "inferry", "Connection": "close", **headers}
    if body is not None:
        said |= {"Content-Type": "application/json", "Content-Length": str(len(body))}
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    method = "GET" if body is None else "POST"
    with _linked(parts, deadline, tls) as link:
        link.settimeout(_left_s(deadline))
        link.sendall(_head(f"{method} {target} HTTP/1.1", said) + (body or b""))
        return _read(link, deadline, method)


def _read(link: socket.socket, deadline: float, method: str) -> Reply:
    timed = Timed(link, deadline)
    answer = http.client.HTTPResponse(cast("socket.socket", timed), method=method)
    try:
        answer.begin()
        body = b""
        # Its status is there: what more it says is for people, and may be missing.
        with contextlib.suppress(OSError, http.client.HTTPException, ValueError):
            timed.deadline = min(deadline, time.monotonic() + READ_S)
            body = answer.read(MAX_READ_BYTES)
        return Reply(
            answer.status, body, answer.getheader("Retry-After"), answer.getheader("Location")
        )
    finally:
        answer.close()


@contextlib.contextmanager
def _linked(
    parts: SplitResult, deadline: float, tls: ssl.SSLContext | None
) -> Iterator[socket.socket]:
    """Connected to the first address that takes it."""
    host = parts.hostname or ""
    is_secure = parts.scheme == "https"
    if parts.scheme not in ("http", "https") or not host:
        raise ValueError("no http:// or https:// URL")
    link = _connected(host, parts.port or (443 if is_secure else 80), deadline)
    try:
        if is_secure:
            context = tls or ssl.create_default_context()
            link.settimeout(_left_s(deadline))
            link = context.wrap_socket(link, server_hostname=host)
        yield link
    finally:
        link.close()


def _connected(host: str, port: int, deadline: float) -> socket.socket:
    failed: OSError | None = None
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    for family, kind, protocol, _, address in found:
        link = socket.socket(family, kind, protocol)
        try:
            link.settimeout(_left_s(deadline))
            link.connect(address)
            return link
        except OSError as error:
            link.close()
            failed = error
    raise failed or OSError(f"{host} has no address")


def _left_s(deadline: float) -> float:
    """Raises TimeoutError where there is none."""
    left_s = deadline - time.monotonic()
    if left_s <= 0:
        raise TimeoutError
    return left_s


def _head(first: str, headers: Mapping[str, str]) -> bytes:
    """Raises ValueError for a header that would be two."""
    lines = [first, *(f"{name}: {value}" for name, value in headers.items())]
    if not all(each.isascii() and each.isprintable() for each in lines):
        raise ValueError("a header is not one line of ASCII")
    return "\r\n".join([*lines, "", ""]).encode()
