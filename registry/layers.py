"""OCI layers: deterministic tar archives, and reading them back.

Sorted paths, time 0, owner 0, fixed modes: the same content gives the same digest, on any machine
and day. Layers are plain tar: models hardly compress and code is small (research/registry.md, 1).
"""

from __future__ import annotations

import io
import tarfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO

from registry.blobs import BlobStore, Readable
from registry.errors import ImageFailedError

BUNDLE_ROOT = "opt/inferry/bundle"
"""Where a container finds the bundle."""


@dataclass(frozen=True, slots=True)
class Layer:
    """One stored layer. It is not compressed, so ``digest`` is its diff_id too."""

    digest: str
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Entry:
    """One file of a layer; ``path`` is relative to the bundle."""

    path: str
    size_bytes: int
    open: Callable[[], AbstractContextManager[Readable]]
    is_executable: bool = False


def bytes_entry(path: str, data: bytes) -> Entry:
    """A file from memory."""
    return Entry(path, len(data), lambda: io.BytesIO(data))


def write_layer(
    store: BlobStore, entries: Iterable[Entry], on_bytes: Callable[[int], None]
) -> Layer:
    """Store a layer with ``entries``; ``on_bytes`` is told how many were written."""
    ordered = sorted(entries, key=lambda entry: entry.path)
    with store.writer() as (write, finish):

        def counted(chunk: bytes) -> int:
            write(chunk)
            on_bytes(len(chunk))
            return len(chunk)

        with tarfile.open(  # type: ignore[call-overload]
            fileobj=_Sink(counted),
            mode="w|",
            format=tarfile.PAX_FORMAT,
        ) as archive:
            for folder in _folders(entry.path for entry in ordered):
                archive.addfile(_info(folder, tarfile.DIRTYPE, 0, 0o755))
            for entry in ordered:
                mode = 0o755 if entry.is_executable else 0o644
                with entry.open() as content:
                    path = f"{BUNDLE_ROOT}/{entry.path}"
                    info = _info(path, tarfile.REGTYPE, entry.size_bytes, mode)
                    archive.addfile(info, content)
        return Layer(*finish())


def read_layer(file: IO[bytes]) -> Iterator[tuple[str, IO[bytes], bool]]:
    """Path in the bundle, content, and whether it is executable, of each file. Raises
    ImageFailedError for a layer that has anything but plain files below the bundle's root: none of
    ours does."""
    try:
        with tarfile.open(fileobj=file, mode="r:") as archive:
            for info in archive:
                if info.isdir():
                    continue
                content = archive.extractfile(info) if info.isreg() else None
                path = PurePosixPath(info.name)
                is_inside = path.is_relative_to(BUNDLE_ROOT) and ".." not in path.parts
                if content is None or not is_inside:
                    raise ImageFailedError("the image has a layer that does not hold a bundle")
                is_executable = bool(info.mode & 0o100)
                yield str(path.relative_to(BUNDLE_ROOT)), content, is_executable
    except tarfile.TarError as error:
        raise ImageFailedError(f"the image has a layer that cannot be read: {error}") from error


class _Sink:
    """The writing end that tarfile wants."""

    def __init__(self, write: Callable[[bytes], int]) -> None:
        self.write = write


def _folders(paths: Iterable[str]) -> list[str]:
    found = {parent for path in paths for parent in Path(BUNDLE_ROOT, path).parents}
    return sorted(str(folder) for folder in found if str(folder) != ".")


def _info(path: str, kind: bytes, size: int, mode: int) -> tarfile.TarInfo:
    info = tarfile.TarInfo(path)
    info.type, info.size, info.mode, info.mtime = kind, size, mode, 0
    return info
