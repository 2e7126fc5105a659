"""The bytes of a wheel from where its lock says: an index over HTTP, or a file of this machine.
Whoever reads them checks them.
"""

from __future__ import annotations

import os
import ssl
import stat
import threading
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from registry.dependencies.indexes import Indexes, origin, read_indexes
from registry.dependencies.lock import LockedWheel
from registry.errors import RequirementsError

if TYPE_CHECKING:
    import httpx

CHUNK_BYTES = 256 * 1024
ATTEMPTS = 3
TIMEOUT_S = 15.0


class RetryError(Exception):
    """The server may do better next time; ``str()`` says how it failed."""


class Downloads:
    """Connections that are opened when the first wheel needs one."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._clients: dict[bool, httpx.Client] = {}
        self._indexes: Indexes | None = None

    def close(self) -> None:
        """Ends all connections."""
        for client in self._clients.values():
            client.close()

    def chunks(self, wheel: LockedWheel) -> Iterator[bytes]:
        """Raises RequirementsError, or RetryError for what may pass."""
        if urlsplit(wheel.url).scheme == "file":
            yield from _file_chunks(wheel)
            return
        import httpx

        where = urlsplit(wheel.url).hostname
        client, user = self._connected(wheel.url)
        auth = httpx.BasicAuth(*user) if user else httpx.USE_CLIENT_DEFAULT
        try:
            with client.stream("GET", wheel.url, auth=auth) as response:
                if response.status_code >= 500 or response.status_code in (408, 429):
                    raise RetryError(f"{where} answers {response.status_code} for {wheel.file}")
                if response.status_code != 200:
                    raise RequirementsError(
                        f"{where} answers {response.status_code} for {wheel.file};"
                        " lock anew with --relock, or check the index's password"
                    )
                yield from response.iter_raw(CHUNK_BYTES)
        except (httpx.UnsupportedProtocol, httpx.TooManyRedirects, httpx.InvalidURL) as error:
            raise RequirementsError(
                f"{where} sends {wheel.file} to a place that is not followed"
            ) from error
        except httpx.HTTPError as error:
            reason = ascii(str(error) or type(error).__name__)[1:-1][:200]
            raise RetryError(f"{where} fails for {wheel.file}: {reason}") from error

    def _connected(self, url: str) -> tuple[httpx.Client, tuple[str, str] | None]:
        """A client for the URL, and the user and password of its index."""
        with self._lock:
            if self._indexes is None:
                self._indexes = read_indexes(os.environ)
            is_trusted = self._indexes.is_trusted(url)
            if is_trusted not in self._clients:
                self._clients[is_trusted] = _client(self._indexes.environment, is_trusted)
            return self._clients[is_trusted], self._indexes.credentials().get(origin(url))


def _client(environment: Mapping[str, str], is_trusted: bool) -> httpx.Client:
    """With the certificates and the proxy that pip's settings name, where the environment names
    none. A trusted host is one whose certificate is not looked at; the lock's hash is, always."""
    import httpx

    certificates = environment.get("SSL_CERT_FILE")
    verify: bool | ssl.SSLContext = not is_trusted
    if certificates and not is_trusted and "SSL_CERT_FILE" not in os.environ:
        try:
            verify = ssl.create_default_context(cafile=certificates)
        except OSError as error:
            raise RequirementsError(
                "the certificates that pip's 'cert' names cannot be read"
            ) from (error)
    proxy = environment.get("HTTPS_PROXY")
    is_pips = proxy is not None and not {"HTTPS_PROXY", "https_proxy"} & os.environ.keys()
    return httpx.Client(
        follow_redirects=True,
        timeout=TIMEOUT_S,
        headers={"Accept-Encoding": "identity"},
        auth=_netrc(),
        verify=verify,
        proxy=proxy if is_pips else None,
    )


def _netrc() -> httpx.Auth | None:
    import httpx

    try:
        return httpx.NetRCAuth()
    except (OSError, SyntaxError):
        return None


def _file_chunks(wheel: LockedWheel) -> Iterator[bytes]:
    path = unquote(urlsplit(wheel.url).path)
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(handle, "rb") as file:
            if not stat.S_ISREG(os.fstat(handle).st_mode):
                raise RequirementsError(f"{wheel.file} is no file where the lock says it is")
            while chunk := file.read(CHUNK_BYTES):
                yield chunk
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "its name cannot be"
        raise RequirementsError(f"cannot read {wheel.file}: {reason}") from error
