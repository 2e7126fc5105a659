"""CORS response headers for AML_CORS_ORIGINS.

Decides as flask_cors 6 does with the reference's settings, ``CORS(blueprint, methods=["GET",
"POST"], origins=[...])``. The headers go on every answer of /, /score and /swagger.json, errors
included; not on answers to unknown routes or methods, and not when run() has set
Access-Control-Allow-Origin itself.

    cors = Cors("https://a.example, https://b.example")
    cors.response_headers("GET", {"origin": "https://a.example"})
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from scoring.azure.config import ConfigError

METHODS = "GET, POST"
_REGEX_HINTS = frozenset("*\\]?$^[]()")


class Cors:
    """The allowed origins, read once. Raises ConfigError for an invalid regular expression."""

    def __init__(self, origins: str) -> None:
        names = [".*" if name == "*" else name for name in _split(origins)]
        self._any = ".*" in names
        self._literals = sorted(name for name in names if not _is_regex(name))
        self._patterns = [_compile(name) for name in names if _is_regex(name)]

    def response_headers(self, method: str, headers: Mapping[str, str]) -> list[tuple[str, str]]:
        """Headers to add to the answer; ``headers`` are the request's, names in lower case."""
        origin = self._allowed(headers.get("origin", ""))
        if origin is None:
            return []
        found = [("Access-Control-Allow-Origin", origin)]
        if headers.get("access-control-request-private-network") == "true":
            found.append(("Access-Control-Allow-Private-Network", "false"))
        if method == "OPTIONS":
            found += _preflight(headers)
        if origin != "*" and (self._patterns or len(self._literals) > 1):
            found.append(("Vary", "Origin"))
        return [(name, value) for name, value in found if value]

    def _allowed(self, origin: str) -> str | None:
        if origin:
            wanted = origin.casefold()
            literal = any(wanted == name.casefold() for name in self._literals)
            return origin if literal or any(p.match(origin) for p in self._patterns) else None
        if self._any:
            return "*"
        return self._literals[0] if self._literals else None


def _split(origins: str) -> list[str]:
    return [name.strip() for name in origins.split(",")]


def _is_regex(name: str) -> bool:
    return not _REGEX_HINTS.isdisjoint(name)


def _compile(name: str) -> re.Pattern[str]:
    try:
        return re.compile(name, re.IGNORECASE)
    except re.error as error:
        raise ConfigError(f"AML_CORS_ORIGINS: {name!r} is no valid expression: {error}") from error


def _preflight(headers: Mapping[str, str]) -> list[tuple[str, str]]:
    method = headers.get("access-control-request-method", "").upper()
    if not method or method not in METHODS:  # a substring test, as flask_cors has it
        return []
    wanted = headers.get("access-control-request-headers", "")
    allowed = ", ".join(sorted(name.strip() for name in wanted.split(","))) if wanted else ""
    return [("Access-Control-Allow-Headers", allowed), ("Access-Control-Allow-Methods", METHODS)]
