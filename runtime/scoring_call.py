"""Calls a scoring server: one POST with the standard library, and errors that say what to do."""

from __future__ import annotations

import http.client
import re
import ssl
import urllib.error
import urllib.request
from pathlib import Path
from urllib.parse import SplitResult, urlsplit, urlunsplit

from runtime.errors import BadValueError, ScoringCallError

DEFAULT_TIMEOUT_S = 60.0
ERROR_TEXT_BYTES = 500
_CERTIFICATE = re.compile(r"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.S)
LOOPBACK = {"127.0.0.1", "localhost", "::1"}


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """urllib would turn a redirected POST into a GET; an error is clearer than its answer."""

    def redirect_request(self, *_args: object, **_kwargs: object) -> None:
        """Not followed: urllib then raises the redirect as an HTTPError."""


def score_url(url: str) -> SplitResult:
    """``url``, with /score where it names no path. Raises BadValueError unless http or https."""
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError as error:
        raise BadValueError(f"'{url}' is no URL: {error}") from error
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise BadValueError(f"'{url}' is no http:// or https:// URL")
    return parts if parts.path.strip("/") else parts._replace(path="/score")


def call(
    url: str,
    body: bytes,
    *,
    content_type: str,
    timeout_s: float = DEFAULT_TIMEOUT_S,
    key: str | None = None,
    tls: ssl.SSLContext | None = None,
) -> bytes:
    """The answer's body. ``key``: of a deployment that asks for one; ``tls``: whom to trust, as
    the system does for None. Raises ScoringCallError when there is none or its status is not
    2xx."""
    parts = score_url(url)
    headers = {"Content-Type": content_type}
    if key is not None:
        headers["Authorization"] = f"Bearer {key}"
    request = urllib.request.Request(urlunsplit(parts), data=body, method="POST", headers=headers)
    try:
        with _opener(parts, tls).open(request, timeout=timeout_s) as response:
            answer: bytes = response.read()
            return answer
    except urllib.error.HTTPError as error:
        with error:
            raise _refused(error) from error
    except (OSError, http.client.HTTPException, ValueError) as error:
        reason = getattr(error, "reason", None) or error
        raise ScoringCallError(f"no answer from {urlunsplit(parts)}: {reason}") from error


def pinned(certificate: Path) -> ssl.SSLContext:
    """Trusts a server with exactly the first certificate in this PEM file, whatever its name.
    Raises ScoringCallError."""
    try:
        found = _CERTIFICATE.search(certificate.read_text("ascii", "replace"))
        if found is None:
            raise ScoringCallError(f"{certificate} has no certificate in PEM form")
        context = ssl.create_default_context(cadata=found[0])
    except (OSError, ValueError) as error:  # SSLError is an OSError
        raise ScoringCallError(f"cannot use the certificate {certificate}: {error}") from error
    context.check_hostname = False
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    return context


def _opener(parts: SplitResult, tls: ssl.SSLContext | None) -> urllib.request.OpenerDirector:
    handlers: list[urllib.request.BaseHandler] = [_NoRedirect()]
    if tls is not None:
        handlers.append(urllib.request.HTTPSHandler(context=tls))
    if parts.hostname in LOOPBACK:  # $http_proxy is not meant for this machine
        handlers.append(urllib.request.ProxyHandler({}))
    return urllib.request.build_opener(*handlers)


def _refused(error: urllib.error.HTTPError) -> ScoringCallError:
    text = error.read(ERROR_TEXT_BYTES).decode(errors="replace").strip()
    detail = f": {text}" if text else ""
    return ScoringCallError(f"HTTP {error.code} {error.reason}{detail}", status=error.code)
