"""Where a request goes, and what its head says about how it is to be read. Pure."""

from __future__ import annotations

import urllib.parse
from dataclasses import dataclass

import httptools


@dataclass(frozen=True, slots=True)
class Target:
    """A request target, taken apart; ``path`` is decoded."""

    path: str
    raw_path: bytes
    query: bytes


class TargetError(ValueError):
    """The target is none that this server can read."""


def parse_target(target: bytes) -> Target:
    """The target in origin form, absolute form or ``*``. Raises TargetError."""
    if target == b"*":
        return Target("*", b"*", b"")
    try:
        url = httptools.parse_url(target)
    except httptools.HttpParserInvalidURLError:
        raise TargetError("the request target is not valid") from None
    raw = url.path or b"/"
    try:
        path = raw.decode("ascii")
    except UnicodeDecodeError:
        raise TargetError("the request target is not ASCII") from None
    if "%" in path:
        path = urllib.parse.unquote(path)
    return Target(path, raw, url.query or b"")


def declared_size(value: bytes | None) -> int:
    """Content-Length, 0 when there is none; the parser has refused what is no number."""
    return int(value) if value is not None and value.isdigit() else 0


def deadline_ms(value: bytes | None) -> float | None:
    """x-request-deadline-ms: milliseconds from arrival. Raises ValueError for anything but a
    positive number."""
    if value is None:
        return None
    try:
        number = float(value)
    except ValueError:
        number = -1.0
    if not 0 < number < 1e9:
        raise ValueError("x-request-deadline-ms must be a positive number of milliseconds")
    return number
