"""Reads a tar archive from its first byte to its last, once, and unpacks nothing.

Standard library's tarfile keeps every member, takes a header's word for how much memory to fill
and takes a cut archive for a short one. Here names that leave the root, devices outside of dev/,
sparse files and damaged headers are refused; time and memory stay bounded.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import Enum

from registry.errors import BaseImageError

BLOCK_BYTES = 512
MAX_EXTENSION_BYTES = 1024 * 1024
"""Of one header that describes the next member: a long name, extended attributes."""
MAX_MEMBERS = 1_000_000
MAX_PATH_BYTES = 4096
MAX_DEPTH = 256
MAX_MEMBER_BYTES = 64 * 1024**3
_ZERO = bytes(BLOCK_BYTES)
_USTAR = b"ustar\0"


class Kind(Enum):
    """What a member is, by the letter of its header."""

    FILE = "0"
    HARD_LINK = "1"
    SYMBOLIC_LINK = "2"
    CHARACTER_DEVICE = "3"
    BLOCK_DEVICE = "4"
    FOLDER = "5"
    PIPE = "6"


_KINDS = {ord(kind.value): kind for kind in Kind} | {0: Kind.FILE, ord("7"): Kind.FILE}
_LINKS = (Kind.HARD_LINK, Kind.SYMBOLIC_LINK)


@dataclass(frozen=True, slots=True)
class Member:
    """``path`` from the root, without ``.`` and slashes around it; the root itself is empty."""

    path: str
    kind: Kind
    target: str
    size_bytes: int
    is_executable: bool


@dataclass(slots=True)
class _Described:
    """What extension headers said of the next member."""

    path: bytes | None = None
    target: bytes | None = None
    size: int | None = None


class TarReader:
    """``for member in reader``, and within it ``reader.content()`` for the member's bytes."""

    def __init__(self, chunks: Iterator[bytes], *, is_strict: bool) -> None:
        """Strict: its end must be marked, and nothing may follow. Of an archive whose digest is
        known, that is not asked: it is whole."""
        self._source = _Source(chunks)
        self._is_strict = is_strict
        self._left = self._padding = 0

    def __iter__(self) -> Iterator[Member]:
        said = _Described()
        for _ in range(MAX_MEMBERS):
            self._finish_member()
            header = self._header()
            if header is None:
                return self._drain()
            size = _number(header[124:136])
            letter = header[156]
            if letter in b"xgLK":
                self._describe(letter, self._extension(size), said)
            elif letter == ord("V"):  # the volume's label
                self._begin(size)
            else:
                yield self._member(header, letter, said, size)
                said = _Described()
        raise BaseImageError(f"it has more than {MAX_MEMBERS} files")

    def content(self) -> Iterator[bytes]:
        """The rest of the current member."""
        while self._left:
            piece = self._source.some(self._left)
            self._left -= len(piece)
            yield piece

    def _member(self, header: bytes, letter: int, said: _Described, size: int) -> Member:
        kind = _KINDS.get(letter)
        if kind is None:
            what = "a sparse file; make it without --sparse" if letter == ord("S") else "an unknown"
            raise BaseImageError(f"it has a member of type {chr(letter)!a}: {what}")
        raw = said.path or _name(header)
        if letter == 0 and raw.endswith(b"/"):
            kind = Kind.FOLDER
        path = _checked_path(raw)
        target = ""
        if kind in _LINKS:
            target = _text(_cut(header[157:257]) if said.target is None else said.target)
            if kind is Kind.HARD_LINK:
                target = _checked_path(target.lstrip("/").encode("utf-8", "surrogateescape"))
        is_device = kind is Kind.CHARACTER_DEVICE and not path.startswith("dev/")
        if is_device or kind is Kind.BLOCK_DEVICE:
            raise BaseImageError(f"it has the device {_shown(path)}; leave devices out")
        size = size if said.size is None else said.size
        self._begin(size if kind is Kind.FILE else 0)
        return Member(path, kind, target, self._left, bool(_number(header[100:108]) & 0o111))

    def _header(self) -> bytes | None:
        """The next header; None at the end."""
        block = self._source.take(BLOCK_BYTES)
        if block == _ZERO or (not block and not self._is_strict):
            return None
        if len(block) < BLOCK_BYTES:
            raise BaseImageError("it is cut off: its end is missing")
        if sum(block) - sum(block[148:156]) + 8 * 32 != _number(block[148:156]):
            raise BaseImageError("it is damaged, or no tar archive: a header has a wrong checksum")
        return block

    def _extension(self, size: int) -> bytes:
        if size > MAX_EXTENSION_BYTES:
            raise BaseImageError(f"it has a header of {size} bytes")
        self._begin(size)
        return b"".join(self.content())

    def _describe(self, letter: int, data: bytes, said: _Described) -> None:
        if letter == ord("L"):
            said.path = data.rstrip(b"\0")
        elif letter == ord("K"):
            said.target = data.rstrip(b"\0")
        else:
            _read_records(data, said, is_global=letter == ord("g"))

    def _begin(self, size: int) -> None:
        if size > MAX_MEMBER_BYTES:
            raise BaseImageError(f"it has a file of {size} bytes")
        self._left, self._padding = size, -size % BLOCK_BYTES

    def _finish_member(self) -> None:
        self._source.skip(self._left + self._padding)
        self._left = self._padding = 0

    def _drain(self) -> None:
        """What follows the end is zeros; it has to be read because it counts for the digest."""
        for chunk in self._source.rest():
            if self._is_strict and chunk.count(0) != len(chunk):
                raise BaseImageError("it has more behind its end: several archives in one file?")


@dataclass(slots=True)
class _Source:
    """Chunks, read in pieces of any size. The iterator's errors pass."""

    chunks: Iterator[bytes]
    _chunk: bytes = field(default=b"", init=False)
    _at: int = field(default=0, init=False)

    def take(self, size: int) -> bytes:
        """So many bytes; fewer at the end."""
        end = self._at + size
        if end <= len(self._chunk):
            taken = self._chunk[self._at : end]
            self._at = end
            return taken
        parts = bytearray()
        while len(parts) < size and self._fill():
            parts += self._piece(size - len(parts))
        return bytes(parts)

    def some(self, size: int) -> bytes:
        """At most so many bytes, and at least one. Raises BaseImageError at the end."""
        if not self._fill():
            raise BaseImageError("it is cut off: a file's end is missing")
        return self._piece(size)

    def skip(self, size: int) -> None:
        """Leave out so many bytes. Raises BaseImageError at the end."""
        while size:
            if not self._fill():
                raise BaseImageError("it is cut off: a file's end is missing")
            step = min(size, len(self._chunk) - self._at)
            self._at += step
            size -= step

    def rest(self) -> Iterator[bytes]:
        """All that is left."""
        yield self._chunk[self._at :]
        yield from self.chunks

    def _piece(self, size: int) -> bytes:
        piece = self._chunk[self._at : self._at + size]
        self._at += len(piece)
        return piece

    def _fill(self) -> bool:
        """Whether there is a byte."""
        while self._at >= len(self._chunk):
            chunk = next(self.chunks, None)
            if chunk is None:
                return False
            self._chunk, self._at = chunk, 0
        return True


def _read_records(data: bytes, said: _Described, *, is_global: bool) -> None:
    """Lines ``LENGTH key=value`` of a PAX header."""
    at = 0
    while at < len(data):
        space = data.find(b" ", at, at + 10)
        digits = data[at : max(space, at)]
        end = at + int(digits) if digits.isdigit() else at
        key, equals, value = data[space + 1 : end - 1].partition(b"=")
        is_whole = at < space < end <= len(data) and data[end - 1] == 0x0A
        if not is_whole or not equals:
            raise BaseImageError("it is damaged: a PAX header cannot be read")
        at = end
        if key.startswith(b"GNU.sparse"):
            raise BaseImageError("it has a sparse file; make it without --sparse")
        if key not in (b"path", b"linkpath", b"size"):
            continue
        if is_global:
            raise BaseImageError("it has a PAX header that names all its files alike")
        if key == b"path":
            said.path = value
        elif key == b"linkpath":
            said.target = value
        elif value.isdigit() and len(value) < 20:
            said.size = int(value)
        else:
            raise BaseImageError("it is damaged: a PAX header has no size")


def _number(field: bytes) -> int:
    """Octal digits, or a binary number behind 0x80."""
    if field[0] == 0x80:
        return int.from_bytes(field[1:], "big")
    digits = field.strip(b" \0")
    if not digits:
        return 0
    # int() alone would take signs, underscores and 0o
    if digits.isdigit() and not digits.strip(b"01234567"):
        return int(digits, 8)
    raise BaseImageError("it is damaged, or no tar archive: a header has no number")


def _name(header: bytes) -> bytes:
    name = _cut(header[:100])
    if header[257:263] == _USTAR and header[345]:
        return _cut(header[345:500]) + b"/" + name
    return name


def _cut(field: bytes) -> bytes:
    return field.partition(b"\0")[0]


def _checked_path(raw: bytes) -> str:
    text = _text(raw)
    if text.startswith("/"):
        raise BaseImageError(
            f"it has the absolute name {_shown(text)}; make it with tar -C ROOT -c ."
        )
    parts = [part for part in text.split("/") if part not in ("", ".")]
    if ".." in parts:
        raise BaseImageError(f"it has the name {_shown(text)}, which leaves the root")
    if len(parts) > MAX_DEPTH:
        raise BaseImageError(f"it has a file {len(parts)} folders deep")
    return "/".join(parts)


def _text(raw: bytes) -> str:
    if len(raw) > MAX_PATH_BYTES or b"\0" in raw:
        raise BaseImageError(f"it has a name that no file can have: {_shown(_decoded(raw[:100]))}")
    return _decoded(raw)


def _decoded(raw: bytes) -> str:
    return raw.decode("utf-8", "surrogateescape")


def _shown(text: str) -> str:
    return ascii(text[:100])
