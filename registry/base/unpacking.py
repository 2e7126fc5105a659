"""The plain bytes of an archive, whatever packs them: gzip, xz, bzip2 or nothing, by its first
bytes and not by its name. What is damaged, cut off or a bomb is refused; memory stays small."""

from __future__ import annotations

import bz2
import lzma
import zlib
from collections.abc import Callable, Iterable, Iterator
from itertools import chain
from typing import Protocol

from registry.errors import BaseImageError

STEP_BYTES = 1024 * 1024
MAX_RATIO = 200
FREE_BYTES = 1024**3
"""Less may have any ratio: a new disk's zeros, a sparse log file."""
MAX_UNPACKED_BYTES = 64 * 1024**3
MAX_XZ_MEMORY_BYTES = 256 * 1024 * 1024
GZIP = b"\x1f\x8b"
_XZ = b"\xfd7zXZ\x00"
_BZIP2 = b"BZh"
_ZSTD = b"\x28\xb5\x2f\xfd"
_MAGIC_BYTES = 6


class _Unpacker(Protocol):
    """One stream of a packed file, as bz2 and lzma have it."""

    @property
    def eof(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    @property
    def needs_input(self) -> bool: ...
    def decompress(self, data: bytes, max_length: int = -1) -> bytes: ...


def unpacked(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """The plain bytes. Raises BaseImageError."""
    magic, whole = peeked(chunks)
    if magic.startswith(_ZSTD):
        raise BaseImageError(
            "it is packed with zstd, which is not supported; unpack it (zstd -d), or copy the image"
            " with skopeo copy --dest-compress-format gzip"
        )
    make = _unpacker(magic)
    return whole if make is None else _bounded(whole, make)


def peeked(chunks: Iterable[bytes]) -> tuple[bytes, Iterator[bytes]]:
    """The first bytes, and all of them."""
    found = b""
    iterator = iter(chunks)
    while len(found) < _MAGIC_BYTES and (chunk := next(iterator, b"")):
        found += chunk
    return found[:_MAGIC_BYTES], chain([found], iterator)


def _unpacker(magic: bytes) -> Callable[[], _Unpacker] | None:
    if magic.startswith(GZIP):
        return _Gunzip
    if magic.startswith(_XZ):
        return lambda: lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=MAX_XZ_MEMORY_BYTES)
    if magic.startswith(_BZIP2):
        return bz2.BZ2Decompressor
    return None


def _bounded(chunks: Iterator[bytes], make: Callable[[], _Unpacker]) -> Iterator[bytes]:
    """Streams that follow each other, as gzip and xz allow, and no more than an archive has."""
    taken = given = 0

    def counted() -> Iterator[bytes]:
        nonlocal taken
        for chunk in chunks:
            taken += len(chunk)
            yield chunk

    for piece in _streams(counted(), make):
        given += len(piece)
        if given > MAX_UNPACKED_BYTES or (given > FREE_BYTES and given > MAX_RATIO * taken):
            raise BaseImageError(f"it unpacks to more than {given} bytes from {taken}")
        yield piece


def _streams(chunks: Iterator[bytes], make: Callable[[], _Unpacker]) -> Iterator[bytes]:
    data = b""
    while data := data or next(chunks, b""):
        stream = make()
        while not stream.eof:
            yield _step(stream, data)
            data = b""
            if stream.needs_input and not stream.eof and not (data := next(chunks, b"")):
                raise BaseImageError("it is damaged: its end is missing")
        data = stream.unused_data.lstrip(b"\0")  # padding to a block, which gzip skips too


def _step(stream: _Unpacker, data: bytes) -> bytes:
    """Only what unpacking raises means damage: an OSError of ``chunks`` is a disk's."""
    try:
        return stream.decompress(data, STEP_BYTES)
    except (zlib.error, lzma.LZMAError) as error:
        raise BaseImageError(f"it is damaged: {error}") from error
    except (OSError, ValueError, EOFError) as error:  # what bz2 raises
        raise BaseImageError("it is damaged") from error


class _Gunzip:
    """zlib's object with the manners of bz2 and lzma; it checks the CRC and the length."""

    def __init__(self) -> None:
        self._inner = zlib.decompressobj(31)

    @property
    def eof(self) -> bool:
        return self._inner.eof

    @property
    def unused_data(self) -> bytes:
        return self._inner.unused_data

    @property
    def needs_input(self) -> bool:
        return not self._inner.unconsumed_tail

    def decompress(self, data: bytes, max_length: int = -1) -> bytes:
        return self._inner.decompress(self._inner.unconsumed_tail + data, max(max_length, 0))
