"""What can run code in files that hold others, by looking a bounded way in.

Each function returns why the file can run code when it is opened, in words that follow "it is" or
"it has"; None: nothing was found.
"""

from __future__ import annotations

import ast
import bz2
import io
import lzma
import re
import zipfile
import zlib
from collections.abc import Callable
from typing import IO, Protocol

from registry.formats.pickle_walk import begins_as_pickle

MAX_ENTRIES = 100_000
PEEKED_BYTES = 256 * 1024
MAX_CONFIG_BYTES = 64 * 1024 * 1024
_LZMA_MEMORY_BYTES = 128 * 1024 * 1024
_LAMBDA = re.compile(rb'\\?"class_name\\?"\s*:\s*\\?"Lambda\\?"')
_CODE_ENTRY = re.compile(r"\.(pkl|pickle|pyc|pyo|joblib|dill|pt|pth)$", re.IGNORECASE)


class _Decompressor(Protocol):
    def decompress(self, data: bytes, max_length: int, /) -> bytes: ...


_COMPRESSED: tuple[tuple[bytes, Callable[[], _Decompressor]], ...] = (
    (b"\x1f\x8b", lambda: zlib.decompressobj(31)),
    (b"BZh", bz2.BZ2Decompressor),
    (b"\xfd7zXZ\x00", lambda: lzma.LZMADecompressor(memlimit=_LZMA_MEMORY_BYTES)),
    (b"\x5d\x00\x00", lambda: lzma.LZMADecompressor(memlimit=_LZMA_MEMORY_BYTES)),
    (b"\x78\x01", zlib.decompressobj),
    (b"\x78\x5e", zlib.decompressobj),
    (b"\x78\x9c", zlib.decompressobj),
    (b"\x78\xda", zlib.decompressobj),
)


def in_zip(file: IO[bytes]) -> str | None:
    """A torch file, TorchScript, a skops file, arrays of objects, a Keras layer of code."""
    try:
        with zipfile.ZipFile(file) as archive:
            entries = archive.infolist()
            if len(entries) > MAX_ENTRIES:
                return "a zip of more entries than are looked at"
            return next(filter(None, (_in_entry(archive, entry) for entry in entries)), None)
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, ValueError, EOFError,
            OSError, zlib.error, lzma.LZMAError):  # fmt: skip
        return "a zip that cannot be looked into"


def _in_entry(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> str | None:
    name = entry.filename
    if _CODE_ENTRY.search(name):
        return f"a zip with the pickle {name[-60:]!a}"
    if name == "schema.json":
        return "a skops file, which names what it calls"
    with archive.open(entry) as opened:
        if name.endswith(".npy"):
            return in_npy(opened)
        if name == "config.json":
            found = _LAMBDA.search(opened.read(MAX_CONFIG_BYTES))
            return "a Keras file with a Lambda layer, which is code" if found else None
        if begins_as_pickle(opened.read(PEEKED_BYTES)):
            return f"a zip with the pickle {name[-60:]!a}"
    return None


def in_npy(file: IO[bytes]) -> str | None:
    """An array of objects is pickled."""
    head = file.read(8)
    width = 2 if head[6:7] == b"\x01" else 4
    if not head.startswith(b"\x93NUMPY"):
        return "no array, whatever its name says"
    length = int.from_bytes(file.read(width), "little")
    if length > PEEKED_BYTES:
        return "an array whose header cannot be looked at"
    try:
        header = ast.literal_eval(file.read(length).decode("latin-1"))
        is_of_objects = _has_objects(header["descr"])
    except (ValueError, SyntaxError, TypeError, KeyError, MemoryError, RecursionError):
        return "an array whose header cannot be looked at"
    return "an array of Python objects, which are pickled" if is_of_objects else None


def _has_objects(descr: object) -> bool:
    if isinstance(descr, str):
        return "O" in descr
    if isinstance(descr, list | tuple):
        # Of a field (name, type, shape) only the type counts.
        fields = [
            each[1] if isinstance(each, tuple) and len(each) in (2, 3) else each for each in descr
        ]
        return any(_has_objects(each) for each in fields)
    return False


def in_hdf5(file: IO[bytes]) -> str | None:
    """A Keras model keeps its layers as JSON in an attribute, which is never compressed."""
    before = b""
    while chunk := file.read(4 * 1024 * 1024):
        if _LAMBDA.search(before + chunk):
            return "a Keras file with a Lambda layer, which is code"
        before = chunk[-200:]
    return None


def peeked(head: bytes) -> bytes | None:
    """What a compressed file begins with; None for one that is not compressed, or not so."""
    for magic, made in _COMPRESSED:
        if head.startswith(magic):
            try:
                return made().decompress(head, PEEKED_BYTES)
            except (zlib.error, lzma.LZMAError, OSError, ValueError, EOFError):
                return None
    return None


def opened_bytes(data: bytes) -> IO[bytes]:
    """Bytes as a file."""
    return io.BytesIO(data)
