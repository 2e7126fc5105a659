"""Where a request goes, and whether a registry may send us there. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import quote, urljoin, urlsplit

from registry.errors import RemoteError
from registry.remote.addresses import is_loopback_host

MAX_URL_CHARS = 8192
_PORTS = {"http": 80, "https": 443}
_SAFE = "/?#[]@!$&'()*+,;=:%~"


@dataclass(frozen=True, slots=True)
class Url:
    """``host`` without port and brackets; ``target`` is path and query."""

    scheme: str
    host: str
    port: int
    target: str = "/"

    @property
    def origin(self) -> tuple[str, str, int]:
        """What is one server: credentials for one never go to another."""
        return self.scheme, self.host, self.port

    @property
    def is_safe(self) -> bool:
        """Whether nobody between can read it."""
        return self.scheme == "https" or is_loopback_host(self.host)

    @property
    def authority(self) -> str:
        """The Host header."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _PORTS[self.scheme] else f"{host}:{self.port}"

    def at(self, target: str) -> Url:
        """Another path of the same server."""
        return Url(self.scheme, self.host, self.port, target)

    def __str__(self) -> str:
        """Without the query, which may be a signature."""
        return f"{self.scheme}://{self.authority}{self.target.partition('?')[0]}"


def registry_url(host: str, scheme: str) -> Url:
    """Of a reference's ``host``."""
    return parse_url(f"{scheme}://{host}/")


def parse_url(text: str) -> Url:
    """An absolute http or https URL. Raises RemoteError."""
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        raise _unusable(text, "it is no URL") from None
    if len(text) > MAX_URL_CHARS:
        raise _unusable(text, "it is too long")
    if parts.scheme not in _PORTS:
        raise _unusable(text, "only https is followed")
    if parts.username is not None or parts.password is not None:
        raise RemoteError("the registry sent an address with a password in it; refused")
    if not parts.hostname or any(not c.isprintable() or c in ' \\"<>' for c in text):
        raise _unusable(text, "it is no URL")
    try:
        host = parts.hostname.encode("idna").decode() if parts.hostname else ""
    except UnicodeError:
        raise _unusable(text, "it is no host name") from None
    query = f"?{parts.query}" if parts.query else ""
    target = quote(f"{parts.path or '/'}{query}", safe=_SAFE)
    return Url(parts.scheme, host, port or _PORTS[parts.scheme], target)


def followed(base: Url, location: str, registry: Url) -> Url:
    """Where ``location`` leads from ``base``. From https only to https; plain http only within one
    server, or between loopback addresses. Raises RemoteError. The connection checks addresses."""
    try:
        joined = urljoin(f"{base.scheme}://{base.authority}{base.target}", location)
    except ValueError:
        raise _unusable(location, "it is no URL") from None
    url = parse_url(joined)
    if url.scheme == "https" or url.origin == registry.origin:
        return url
    if registry.scheme == "http" and is_loopback_host(registry.host) and url.is_safe:
        return url
    raise _unusable(str(url), "it is plain http; only https is followed")


def with_query(url: Url, name: str, value: str) -> Url:
    """With one more parameter."""
    joint = "&" if "?" in url.target else "?"
    return url.at(f"{url.target}{joint}{name}={quote(value, safe='')}")


def _unusable(text: str, why: str) -> RemoteError:
    shown = ascii(text.partition("?")[0])[1:-1][:120]
    return RemoteError(f"the registry sent the address {shown}, which is not followed: {why}")
