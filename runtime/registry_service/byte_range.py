"""The Range header of a GET. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass

_ONE = re.compile(r"bytes=([0-9]{0,18})-([0-9]{0,18})")


@dataclass(frozen=True, slots=True)
class Span:
    """``count`` bytes from ``offset`` on."""

    offset: int
    count: int


class UnsatisfiableError(Exception):
    """The range begins behind the end."""


def parse_range(header: str | None, if_range: str | None, etag: str, size: int) -> Span | None:
    """The span that is asked for, or None for all: several ranges and what is no range are answered
    with the whole, as HTTP allows. Raises UnsatisfiableError."""
    if header is None or if_range not in (None, etag):
        return None
    match = _ONE.fullmatch(header.replace(" ", ""))
    if match is None or match[1] == match[2] == "":
        return None
    if match[1] == "":
        count = min(int(match[2]), size)
        if count == 0:
            raise UnsatisfiableError
        return Span(size - count, count)
    first = int(match[1])
    last = size - 1 if match[2] == "" else min(int(match[2]), size - 1)
    if match[2] != "" and int(match[2]) < first:
        return None
    if first >= size:
        raise UnsatisfiableError
    return Span(first, last - first + 1)
