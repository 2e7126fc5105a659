"""Bytes to messages and back, as JSON; telemetry is deflated (zlib), as it repeats itself."""

from __future__ import annotations

import zlib
from typing import TypeVar

import msgspec

from edge.errors import InvalidMessageError

VERSION = 1
MAX_BYTES = 256 * 1024
"""Of a message that is not telemetry."""
MAX_PLAIN_BYTES = 8 * 1024 * 1024
"""Of telemetry once inflated."""
T = TypeVar("T", bound=msgspec.Struct)


def encode(message: msgspec.Struct) -> bytes:
    """As JSON."""
    return msgspec.json.encode(message)


def decode(data: bytes | memoryview, kind: type[T], max_bytes: int = MAX_BYTES) -> T:
    """Raises InvalidMessageError, saying what is wrong."""
    if len(data) > max_bytes:
        raise InvalidMessageError(f"a {kind.__name__} of {len(data)} bytes is too large")
    try:
        message = msgspec.json.decode(data, type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, ValueError) as error:
        raise InvalidMessageError(f"no {kind.__name__}: {error}") from error
    version = getattr(message, "v", VERSION)
    if version != VERSION:
        raise InvalidMessageError(
            f"a {kind.__name__} of version {version}; this program speaks {VERSION}"
        )
    return message


def deflate(data: bytes) -> bytes:
    """Level 1: a device's processor is slower than its link is narrow."""
    return zlib.compress(data, 1)


def inflate(data: bytes, max_bytes: int = MAX_PLAIN_BYTES) -> bytes:
    """Raises InvalidMessageError for what is damaged or grows beyond ``max_bytes``."""
    inflater = zlib.decompressobj()
    try:
        plain = inflater.decompress(data, max_bytes)
    except zlib.error as error:
        raise InvalidMessageError(f"damaged telemetry: {error}") from error
    if not inflater.eof or inflater.unused_data:
        raise InvalidMessageError("telemetry that is cut, or too large")
    return plain
