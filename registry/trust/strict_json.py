"""JSON from elsewhere, read so that two readers cannot see two things in it, and its fields with
exact types."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

from registry.errors import TrustError

MAX_BYTES = 4 * 1024 * 1024
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


def read_object(data: bytes, what: str, max_bytes: int = MAX_BYTES) -> dict[str, Any]:
    """The object in ``data``: UTF-8, no key twice, no NaN, nothing behind it. Raises TrustError,
    whose message begins with ``what``."""
    if len(data) > max_bytes:
        raise TrustError(f"{what} is larger than {max_bytes} bytes")
    try:
        text = data.decode("utf-8")
        document = json.loads(text, object_pairs_hook=_object, parse_constant=_refuse)
        json.dumps(document, ensure_ascii=False).encode()  # no half of a surrogate pair
    except _Twice as error:
        raise TrustError(f"{what} has the key {ascii(error.args[0])[:60]} twice") from None
    except (ValueError, RecursionError):
        raise TrustError(f"{what} is no JSON, or is cut short") from None
    if not isinstance(document, dict):
        raise TrustError(f"{what} is no JSON object")
    return document


def text(document: Mapping[str, Any], key: str, what: str) -> str:
    """The text at ``key``. Raises TrustError."""
    value = document.get(key)
    if type(value) is not str:
        raise TrustError(f"{what} has no text '{key}'")
    return value


def optional_text(document: Mapping[str, Any], key: str, what: str) -> str | None:
    """The text at ``key``, or None when it is null or not there. Raises TrustError."""
    return None if document.get(key) is None else text(document, key, what)


def number(document: Mapping[str, Any], key: str, what: str) -> int:
    """The whole number from 0 on at ``key``. Raises TrustError."""
    value = document.get(key)
    if type(value) is not int or value < 0:
        raise TrustError(f"{what} has no number '{key}'")
    return value


def digest(document: Mapping[str, Any], key: str, what: str) -> str:
    """The digest at ``key``, ``sha256:<hex>``. Raises TrustError."""
    return checked_digest(text(document, key, what), f"{what} has no digest '{key}'")


def checked_digest(value: str, complaint: str) -> str:
    """``value`` itself. Raises TrustError with ``complaint``."""
    if not _DIGEST.fullmatch(value):
        raise TrustError(f"{complaint} of the form sha256:<64 hex digits>")
    return value


def mapping(document: Mapping[str, Any], key: str, what: str) -> dict[str, Any]:
    """The object at ``key``. Raises TrustError."""
    value = document.get(key)
    if type(value) is not dict:
        raise TrustError(f"{what} has no object '{key}'")
    return value


def objects(document: Mapping[str, Any], key: str, what: str) -> list[dict[str, Any]]:
    """The list of objects at ``key``. Raises TrustError."""
    value = document.get(key)
    if type(value) is not list or any(type(item) is not dict for item in value):
        raise TrustError(f"{what} has no list of objects '{key}'")
    return value


def encoded(document: Mapping[str, Any]) -> bytes:
    """JSON with sorted keys and no spaces: equal documents, equal bytes."""
    return json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


class _Twice(Exception):
    pass


def _object(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise _Twice(key)
        found[key] = value
    return found


def _refuse(name: str) -> NoReturn:
    raise ValueError(name)
