"""What a registry's refusal means, in one line: its own words and what to do. Pure."""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Sequence

from registry.errors import RemoteError
from registry.remote.reference import HUB_API
from registry.remote.retrying import RETRIED, TransientError

MAX_CHARS = 300
MAX_BODY_BYTES = 64 * 1024


def refusal(
    host: str,
    what: str,
    status: int,
    body: bytes,
    *,
    secrets: Sequence[str] = (),
    asked_s: float | None = None,
) -> RemoteError:
    """``what`` was asked for, such as ``the manifest of name:tag``; ``asked_s`` how long to wait.
    A TransientError if another try may do."""
    said = registry_words(body)
    for secret in secrets:
        said = said.replace(secret, "***")
    said = plain(said)
    words = f" ({said})" if said else ""
    message = f"{host} answers {status} for {what}{words}{_advice(host, status, asked_s)}"
    if status in RETRIED:
        return TransientError(message, status=status, asked_s=asked_s)
    return RemoteError(message, status=status)


def registry_words(body: bytes) -> str:
    """``CODE: message`` of each error in the body of an error (distribution-spec), else none: a
    proxy's page tells nobody anything."""
    try:
        errors = json.loads(body)["errors"]
        return "; ".join(_one(error) for error in errors[:3] if isinstance(error, dict))
    except (ValueError, LookupError, TypeError, RecursionError):
        return ""


def plain(text: str) -> str:
    """In one line, bounded, and nothing in it moves a terminal."""
    shown = "".join(
        char if unicodedata.category(char)[0] not in "CZ" or char == " " else ascii(char)[1:-1]
        for char in text[: 2 * MAX_CHARS]
    )
    return shown if len(shown) <= MAX_CHARS else f"{shown[:MAX_CHARS]}..."


def _one(error: dict[str, object]) -> str:
    parts = (error.get("code"), error.get("message"))
    return ": ".join(part for part in parts if isinstance(part, str) and part)


def _advice(host: str, status: int, asked_s: float | None) -> str:
    login = "docker login" if host == HUB_API else f"docker login {host}"
    if status == 401:
        return f"; log in with: {login}"
    if status == 403:
        return f"; the user has no such right: check it, or use {login} as another"
    if status == 404:
        return "; check the reference, and that it was pushed"
    if status == 413:
        return "; the registry, or a proxy before it, limits the size of what is sent"
    if status == 429:
        return f"; try again {'later' if asked_s is None else f'in {asked_s:.0f} s'}"
    if status >= 500:
        return "; the registry fails: try again, or look at its log"
    return ""
