"""Who may come in: host, origin and token of a request. Pure but for the look at the tokens.

A web page must not reach a registry on this machine through its visitor's browser: by a name that
suddenly means 127.0.0.1 (the Host is checked), or by a form or script of another site (Origin and
Sec-Fetch-Site of everything that changes something are checked).
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from urllib.parse import urlsplit

from registry.distribution import Code, DistributionError
from runtime.registry_service.config import ServiceConfig, is_loopback

READING = ("GET", "HEAD")


def check_browser(config: ServiceConfig, method: str, headers: Mapping[str, str]) -> None:
    """Raises DENIED for what only a browser that is misused would send."""
    host = headers.get("host", "")
    if config.is_loopback and not _is_ours(config, host):
        raise DistributionError(
            Code.DENIED, "the Host header names another machine; see --public-host"
        )
    if method in READING:
        return
    if headers.get("sec-fetch-site", "none") not in ("none", "same-origin"):
        raise DistributionError(Code.DENIED, "another site may not change anything here")
    origin = headers.get("origin")
    if origin is not None and _netloc(origin) != host.lower():
        raise DistributionError(Code.DENIED, "another site may not change anything here")


def token_of(authorization: str | None) -> str | None:
    """The token in ``Bearer TOKEN`` or, as docker login sends it, ``Basic base64(name:TOKEN)``."""
    scheme, _, rest = (authorization or "").partition(" ")
    if scheme.lower() == "bearer":
        return rest.strip() or None
    if scheme.lower() != "basic":
        return None
    try:
        text = base64.b64decode(rest.strip(), validate=True).decode()
    except (binascii.Error, UnicodeDecodeError, ValueError):
        return None
    return text.partition(":")[2] or None


def _is_ours(config: ServiceConfig, host: str) -> bool:
    try:
        name = urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return False
    ours = {config.host.lower(), *(public.lower() for public in config.public_hosts)}
    return "@" not in host and (is_loopback(name) or name in ours)


def _netloc(origin: str) -> str:
    try:
        return urlsplit(origin).netloc.lower()
    except ValueError:
        return ""
