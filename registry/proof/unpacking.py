"""Writes a layer to disk. Only plain files and folders: whatever else a tar can hold is refused."""

from __future__ import annotations

import gzip
import os
import shutil
import tarfile
import zlib
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path, PurePosixPath
from typing import IO, Protocol

from registry import media_types
from registry.blobs import CHUNK_BYTES, disk_errors_said
from registry.errors import ImageFailedError
from registry.image_tree import ROOT
from registry.layers import Layer

MAX_FILES = 200_000


class Blobs(Protocol):
    """Where a layer is read from: a BlobStore, or a device's."""

    def open(self, digest: str) -> IO[bytes]:
        """The blob, verified at its end at the latest. Raises DamagedBlobError."""
        ...


def unpack(store: Blobs, layer: Layer, folder: Path, check: Callable[[], None]) -> None:
    """Write the layer's files below ``folder``, none over another, read-only. ``check`` may raise
    between files. Raises ImageFailedError, DamagedBlobError, StoreFullError."""
    with store.open(layer.digest) as stored, disk_errors_said():
        is_gzip = layer.media_type == media_types.LAYER_GZIP
        plain: IO[bytes] = gzip.GzipFile(fileobj=stored) if is_gzip else stored  # type: ignore[assignment]
        try:
            with tarfile.open(fileobj=plain, mode="r|", bufsize=CHUNK_BYTES) as archive:
                for count, info in enumerate(archive):
                    check()
                    if count >= MAX_FILES:
                        raise ImageFailedError(f"the layer {layer.digest} has too many files")
                    _write(archive, info, folder)
        except (tarfile.TarError, zlib.error, EOFError, gzip.BadGzipFile) as error:
            raise ImageFailedError(f"the layer {layer.digest} cannot be read: {error}") from error


def _write(archive: tarfile.TarFile, info: tarfile.TarInfo, folder: Path) -> None:
    path = PurePosixPath(info.name)
    if path.is_absolute() or ".." in path.parts or "\0" in info.name:
        raise ImageFailedError(f"the layer has a path that leads outside: {ascii(info.name)[:100]}")
    is_inside = PurePosixPath(ROOT) in path.parents
    if not is_inside and not (info.isdir() and PurePosixPath(ROOT).is_relative_to(path)):
        raise ImageFailedError(f"the layer has a file outside {ROOT}: {ascii(info.name)[:100]}")
    # A sparse file is a regular one to tarfile, and some bytes of it a terabyte of zeros.
    if not info.isdir() and (not info.isreg() or info.issparse()):
        raise ImageFailedError(f"the layer has what is no plain file: {ascii(info.name)[:100]}")
    target = folder / path
    try:
        (target if info.isdir() else target.parent).mkdir(parents=True, exist_ok=True)
        content = archive.extractfile(info)
        if content is not None:
            with target.open("xb") as file:
                shutil.copyfileobj(content, file, CHUNK_BYTES)
                os.fchmod(file.fileno(), 0o555 if info.mode & 0o100 else 0o444)
    except (FileExistsError, NotADirectoryError):
        raise ImageFailedError(f"the layer has a path twice: {ascii(info.name)[:100]}") from None


def protect(folder: Path) -> None:
    """Make the folder and all below it read-only, as they are in a container."""
    for path, _, _ in os.walk(folder, topdown=False):
        os.chmod(path, 0o555)


def remove(folder: Path) -> None:
    """Remove the folder, read-only or not. What a link leads to stays as it is: files of a bundle
    are the store's own."""
    for path, _, _ in os.walk(folder):
        with suppress(OSError):
            os.chmod(path, 0o700)
    shutil.rmtree(folder, ignore_errors=True)
