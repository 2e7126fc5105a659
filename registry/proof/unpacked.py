"""Layers of packages and of the server on disk, kept for the next proof: a change of a script does
not unpack 170 MB again.

<folder>/
  <hex of the diff_id>/    a layer's files, read-only; whole, since renamed at its end
  .<random>/               one being unpacked, or a proof's own place
  <hex>.imports            see known_imports.py

Whoever uses one holds a shared lock on it, so that nobody removes it meanwhile.
"""

from __future__ import annotations

import fcntl
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from registry.blobs import BlobStore, disk_errors_said
from registry.errors import WorkspaceDamagedError
from registry.layers import Layer
from registry.proof.known_imports import KnownImports
from registry.proof.unpacking import protect, remove, unpack

TRIES = 3
KEPT = 6
"""Layers, the last ones used."""
MARKER = "unpacked"
"""How many files and bytes there are: after a power cut some may be there and empty."""


class UnpackedLayers:
    """The unpacked layers of one workspace."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.known_imports = KnownImports(folder)

    @contextmanager
    def layer(self, store: BlobStore, layer: Layer, check: Callable[[], None]) -> Iterator[Path]:
        """The folder with the layer's files, for the block. Unpacks it if it must. ``check`` may
        raise while it does."""
        path = self._folder / layer.diff_id.removeprefix("sha256:")
        for _ in range(TRIES):
            lock = _shared(path)
            if lock is not None:
                break
            with self.room() as room:
                unpack(store, layer, room, check)
                (room / MARKER).write_text(_sum(room))
                protect(room)
                with suppress(FileExistsError, OSError):
                    _become(room, path)
            self.trim(KEPT)
        else:
            raise WorkspaceDamagedError(f"'{path}' does not stay as it is; remove it and try again")
        try:
            os.utime(path)
            yield path
        finally:
            os.close(lock)

    @contextmanager
    def room(self) -> Iterator[Path]:
        """An empty folder on the store's file system, gone after the block."""
        lock = None
        while lock is None:  # until nobody has removed it before it was locked
            with disk_errors_said():
                self._folder.mkdir(parents=True, exist_ok=True)
                path = Path(tempfile.mkdtemp(prefix=".", dir=self._folder))
                lock = _lock(path)
        try:
            yield path
        finally:
            os.close(lock)
            remove(path)

    def trim(self, keep: int, *, dry_run: bool = False) -> tuple[int, int]:
        """Remove all but the ``keep`` layers used last, and what killed processes have left; what
        is in use stays. Returns the number and the bytes of what is or would be removed."""
        try:
            found = sorted(filter(Path.is_dir, self._folder.iterdir()), key=_age)
        except FileNotFoundError:
            return 0, 0
        count = size = 0
        layers = [path for path in found if not path.name.startswith(".")]
        for path in [*(path for path in found if path.name.startswith(".")), *layers[keep:]]:
            removed = _size(path)
            if dry_run or self._removed(path):
                count, size = count + 1, size + removed
        return count, size

    def _removed(self, path: Path) -> bool:
        """Whether it could be, being of nobody's use."""
        try:
            handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
        except OSError:
            return False
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            doomed = path if path.name.startswith(".") else path.with_name(f".{path.name}")
            os.rename(path, doomed)
            remove(doomed)
        except OSError:  # in use, or another one removes it
            return False
        finally:
            os.close(handle)
        return True


def _shared(path: Path) -> int | None:
    """A lock on the layer that is there and whole. One that is not makes room for one that is."""
    lock = _lock(path)
    if lock is None:
        return None
    with suppress(OSError):
        if (path / MARKER).read_text() == _sum(path):
            return lock
    with suppress(OSError):
        os.rename(path, path.with_name(f".{path.name}-{os.getpid()}"))
    os.close(lock)
    return None


def _lock(path: Path) -> int | None:
    """A shared lock on the folder, if it is there."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    except OSError:
        return None
    fcntl.flock(handle, fcntl.LOCK_SH)
    with suppress(OSError):
        if os.path.samestat(os.fstat(handle), os.stat(path)):
            return handle
    os.close(handle)
    return None


def _become(room: Path, path: Path) -> None:
    """``room`` itself stays, for its block to remove: its content moves."""
    whole = room.with_name(f"{room.name}-whole")
    os.rename(room, whole)
    try:
        os.rename(whole, path)
    except OSError:  # another process was faster
        remove(whole)


def _sum(folder: Path) -> str:
    count, size = 0, 0
    for status in _files(folder):
        count, size = count + 1, size + status.st_size
    return f"{count} files, {size} bytes\n"


def _files(folder: str | Path) -> Iterator[os.stat_result]:
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                yield from _files(entry.path)
            elif entry.name != MARKER:
                yield entry.stat(follow_symlinks=False)


def _size(folder: Path) -> int:
    try:
        return sum(status.st_size for status in _files(folder))
    except OSError:
        return 0


def _age(path: Path) -> float:
    """Seconds since the last use, for sorting: the newest first."""
    try:
        return -path.stat().st_mtime
    except OSError:
        return 0.0
