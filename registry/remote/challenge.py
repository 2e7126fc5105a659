"""What a registry asks for when it answers 401: the WWW-Authenticate header (RFC 9110). Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

MAX_CHARS = 8192
_SCHEME = re.compile(r"\s*([A-Za-z0-9_-]{1,32})(?:\s+|$)")
_PARAMETER = re.compile(r'\s*([A-Za-z0-9_-]{1,64})\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s",]+))\s*,?')


@dataclass(frozen=True, slots=True)
class Challenge:
    """``scheme`` in lower case; parameters as realm, service, scope."""

    scheme: str
    parameters: Mapping[str, str]


def parse_challenges(headers: Sequence[str]) -> list[Challenge]:
    """Those that can be read; never raises."""
    return [challenge for header in headers for challenge in _parse(header[:MAX_CHARS])]


def _parse(header: str) -> list[Challenge]:
    found: list[Challenge] = []
    position = 0
    while position < len(header):
        scheme = _SCHEME.match(header, position)
        if scheme is None:
            return found
        position = scheme.end()
        parameters: dict[str, str] = {}
        while parameter := _PARAMETER.match(header, position):
            quoted, plain = parameter[2], parameter[3]
            value = re.sub(r"\\(.)", r"\1", quoted) if quoted is not None else plain
            parameters[parameter[1].lower()] = value
            position = parameter.end()
        found.append(Challenge(scheme[1].lower(), parameters))
    return found
