"""Decides about each file of a model: by what it holds, and by its name.

- ``code``: pickles and their friends. They run code when they are opened, so they are taken only
  where that was allowed.
- ``broken``: says that it is a format and is not. It is never taken.
- ``unknown``: no format that is known here. It is taken unless the workspace refuses such.
- anything else: ONNX (registry/onnx_file.py reads it), safetensors, gguf, TensorFlow's SavedModel,
  and plain data.
"""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from registry.errors import InvalidSourceError
from registry.formats import containers, safetensors
from registry.formats.pickle_walk import begins_as_pickle, is_pickle
from registry.tree import SourceFile, shown

HEAD_BYTES = 64 * 1024
DEPTH = 3
"""How often a file is looked into that is compressed again."""
SAID = 5
_COMPRESSIONS = re.compile(r"(\.(gz|bz2|xz|lzma|zst|zstd|lz4|z|zip|br|snappy|tar|tgz))+$")
_CODE_NAMES = {
    "pkl": "a pickle", "pickle": "a pickle", "pck": "a pickle", "pcl": "a pickle",
    "joblib": "a joblib pickle", "jbl": "a joblib pickle", "dill": "a pickle of dill",
    "cloudpickle": "a pickle of cloudpickle", "pt": "a torch file, which is a pickle",
    "pt2": "a torch file, which is a pickle", "pth": "a torch file, which is a pickle",
    "ckpt": "a checkpoint, which is a pickle", "mar": "a torch archive, which has code",
    "skops": "a skops file, which names what it calls", "pyc": "compiled Python",
    "pyo": "compiled Python", "marshal": "marshalled Python",
}  # fmt: skip
_PLAIN_NAMES = frozenset({
    "onnx", "json", "jsonl", "txt", "csv", "tsv", "yaml", "yml", "toml", "md", "rst", "html",
    "xml", "ini", "cfg", "conf", "log", "png", "jpg", "jpeg", "gif", "bmp", "webp", "svg",
    "pdf", "wav", "mp3", "flac", "ogg", "mp4", "parquet", "arrow", "feather", "avro", "pb",
    "pbtxt", "tflite", "gguf", "safetensors", "npy", "npz", "h5", "hdf5", "keras", "ubj", "cbm",
    "pmml", "model", "vocab", "spm", "proto", "py", "ipynb", "sql", "license", "lock", "sha256"
})  # fmt: skip
_PYC_MAGIC = range(3000, 3800)


class FormatError(InvalidSourceError):
    """``files``: each that is refused, with the reason."""

    def __init__(self, message: str, files: tuple[tuple[str, str], ...]) -> None:
        super().__init__(message)
        self.files = files


@dataclass(frozen=True, slots=True)
class FormatReport:
    """The files that can run code, and those of no known format, each with the reason."""

    code: tuple[tuple[str, str], ...] = ()
    unknown: tuple[tuple[str, str], ...] = ()


def check_formats(
    files: Iterable[SourceFile | tuple[str, Path]],
    *,
    allow_pickle: bool,
    refuse_unknown: bool = False,
) -> FormatReport:
    """Look at each file: its path in the model, and where it lies. Raises FormatError naming each
    that is refused and why, and InvalidSourceError for one that cannot be read."""
    code: list[tuple[str, str]] = []
    unknown: list[tuple[str, str]] = []
    broken: list[tuple[str, str]] = []
    for given in files:
        path, place = _placed(given)
        try:
            with open(os.open(place, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC), "rb") as file:
                found = kind(path, file, os.fstat(file.fileno()).st_size)
        except OSError as error:
            raise InvalidSourceError(f"cannot read '{shown(path)}': {error.strerror}") from error
        if found is not None:
            why, what = found
            {"code": code, "unknown": unknown, "broken": broken}[why].append((path, what))
    if broken:
        raise FormatError(f"{_named(broken)}; save it again", tuple(broken))
    if code and not allow_pickle:
        raise FormatError(
            f"{_named(code)}, and can run any code when it is opened; export the model to ONNX or"
            " safetensors, or say --allow-pickle if you trust where it came from",
            tuple(code),
        )
    if unknown and refuse_unknown:
        raise FormatError(
            f"{_named(unknown)}, and this workspace takes no such (inferry registry formats)",
            tuple(unknown),
        )
    return FormatReport(tuple(code), tuple(unknown))


def kind(path: str, file: IO[bytes], size_bytes: int) -> tuple[str, str] | None:
    """``("code" | "broken" | "unknown", why)``; None for what is known and runs no code."""
    ends = _ends(path)
    named = next((_CODE_NAMES[end] for end in ends if end in _CODE_NAMES), None)
    if named is not None:
        return "code", f"by its name {named}"
    head = file.read(HEAD_BYTES)
    file.seek(0)
    found = _by_content(head, file, size_bytes)
    file.seek(0)
    if found is not None:
        return "code", found
    last = "".join(ends)
    if last == "safetensors":
        fault = safetensors.fault(file, size_bytes)
        return None if fault is None else ("broken", f"no right safetensors file: it {fault}")
    if last == "gguf" and not head.startswith(b"GGUF"):
        return "broken", "no GGUF file, whatever its name says"
    if last in _PLAIN_NAMES or _is_text(head) or head.startswith(b"PK\x03\x04"):
        return None
    return "unknown", "of no format that is known here"


def _by_content(head: bytes, file: IO[bytes], size_bytes: int) -> str | None:
    """Why it can run code."""
    if head.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        return containers.in_zip(file)
    if head.startswith(b"\x93NUMPY"):
        return containers.in_npy(file)
    if head.startswith(b"\x89HDF\r\n\x1a\n"):
        return containers.in_hdf5(file)
    if head[2:4] == b"\r\n" and int.from_bytes(head[:2], "little") in _PYC_MAGIC:
        return "compiled Python"
    if is_pickle(file, size_bytes):
        return "a pickle"
    return _in_compressed(head)


def _in_compressed(head: bytes) -> str | None:
    for _ in range(DEPTH):
        inner = containers.peeked(head)
        if inner is None:
            return None
        if begins_as_pickle(inner):
            return "a compressed pickle"
        if inner.startswith(b"\x93NUMPY"):
            return containers.in_npy(containers.opened_bytes(inner))
        if inner.startswith(b"PK\x03\x04"):
            return "a compressed zip, which is not looked into"
        head = inner
    return "compressed more often than is looked into"


def _ends(path: str) -> list[str]:
    """The endings of a name, without those of compression, in small letters:
    ``model.PTH.tar.gz`` has ``pth``."""
    name = unicodedata.normalize("NFKC", path.rsplit("/", 1)[-1]).lower().rstrip(". ")
    return _COMPRESSIONS.sub("", name).split(".")[1:][-1:]


def _is_text(head: bytes) -> bool:
    if b"\0" in head:
        return False
    try:
        head.decode()
    except UnicodeDecodeError as error:
        return error.start >= len(head) - 4 and len(head) == HEAD_BYTES  # cut off in a character
    return True


def _placed(given: SourceFile | tuple[str, Path]) -> tuple[str, Path]:
    if isinstance(given, SourceFile):
        return given.path, given.root / given.path
    return given


def _named(files: list[tuple[str, str]]) -> str:
    (path, why), count = files[0], len(files)
    others = [f"'{shown(other)}'" for other, _ in files[1:SAID]]
    if count > SAID:
        others.append(f"{count - SAID} more")
    also = f" (and so on: {', '.join(others)})" if others else ""
    return f"'{shown(path)}' is {why}{also}"
