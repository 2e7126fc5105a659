"""gzip and deflate of request and response bodies. ``deflate`` is zlib's format (RFC 9110, section
8.4.1.2), as Triton's clients send it.

Decompressing is bounded: a body that unfolds to more than ``limit`` bytes is given up there, before
it is in memory.
"""

from __future__ import annotations

import gzip
import zlib
from functools import lru_cache

from scoring.errors import BodyError

CODINGS = ("gzip", "deflate")
MOST_CODINGS = 2
LEVEL = 1
"""Tensors hardly shrink further; level 1 is several times as fast as the default."""
MIN_BYTES = 1400
"""An answer that fits one packet arrives no sooner when it is smaller."""
MOST_MEMBERS = 16
"""Of a gzip body. Each costs a copy of what comes after it: thousands would take minutes.
"""
_WINDOW = {"gzip": 16 + zlib.MAX_WBITS, "deflate": zlib.MAX_WBITS}


class UnknownCodingError(BodyError):
    """The body's Content-Encoding is none that is understood (HTTP: 415)."""


class UnfoldsTooLargeError(BodyError):
    """The body has more than ``limit`` bytes once it is decompressed (HTTP: 413)."""

    def __init__(self, limit: int) -> None:
        super().__init__(f"the decompressed request body is larger than {limit} bytes")
        self.limit = limit


def decompress(body: bytes, content_encoding: str, limit: int) -> bytes:
    """``body`` without its codings, of at most ``limit`` bytes.

    Raises UnknownCodingError, UnfoldsTooLargeError, or BodyError for a damaged body."""
    codings = [_name(text) for text in content_encoding.split(",") if text.strip()]
    codings = [coding for coding in codings if coding != "identity"]
    unknown = next((coding for coding in codings if coding not in CODINGS), None)
    if unknown is not None or len(codings) > MOST_CODINGS:
        what = repr(unknown[:40]) if unknown else f"{len(codings)} codings at once"
        raise UnknownCodingError(f"Content-Encoding {what} is not supported: use gzip or deflate")
    for coding in reversed(codings):
        body = _unfold(body, coding, limit)
    return body


@lru_cache(maxsize=256)
def choose(accept_encoding: str) -> str | None:
    """The coding for an answer to a request with this Accept-Encoding: "gzip", "deflate", or None
    for none. The highest weight wins, gzip among equals; what is not listed is not used."""
    weights: dict[str, float] = {}
    for part in accept_encoding.split(","):
        coding, _, parameters = part.partition(";")
        weights[_name(coding)] = _weight(parameters)
    anything = weights.get("*", 0.0)
    best = max(CODINGS, key=lambda coding: weights.get(coding, anything))
    weight = weights.get(best, anything)
    return best if weight > 0 and weight >= weights.get("identity", 0.0) else None


def compress(body: bytes, coding: str) -> bytes:
    """``body`` in ``coding``, one of CODINGS."""
    if coding == "gzip":
        return gzip.compress(body, LEVEL, mtime=0)
    return zlib.compress(body, LEVEL)


def _unfold(body: bytes, coding: str, limit: int) -> bytes:
    parts: list[bytes] = []
    size, rest = 0, body
    while rest or not parts:
        stream = zlib.decompressobj(_WINDOW[coding])
        try:
            part = stream.decompress(rest, limit - size + 1)
        except zlib.error:
            raise BodyError(f"the body is not valid {coding}") from None
        size += len(part)
        if size > limit:
            raise UnfoldsTooLargeError(limit)
        if not stream.eof:
            raise BodyError(f"the body ends in the middle of its {coding} data")
        parts.append(part)
        rest = stream.unused_data
        if rest and coding == "deflate":  # gzip's is another member
            raise BodyError("there are bytes after the body's deflate data")
        if len(parts) > MOST_MEMBERS:
            raise BodyError(f"the body has more than {MOST_MEMBERS} gzip members")
    return parts[0] if len(parts) == 1 else b"".join(parts)


def _name(text: str) -> str:
    name = text.strip().lower()
    return name[2:] if name == "x-gzip" else name


def _weight(parameters: str) -> float:
    """The weight q, 1 when there is none or none that makes sense."""
    name, _, value = parameters.partition("=")
    if name.strip().lower() != "q":
        return 1.0
    try:
        weight = float(value)
    except ValueError:
        return 1.0
    return weight if 0 <= weight <= 1 else 1.0
