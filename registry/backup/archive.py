"""A backup as one .tar file: one snapshot with all its bytes.

    blobs/<hex>            ...
    snapshots/<id>.json    the last entry: without it the file is not whole

It is written beside its name and renamed at the end. Reading looks at names of just these forms and
takes the bytes; nothing is unpacked by tar's rules, which lead outside of folders.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import shutil
import tarfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from registry.backup.folder import sync_folder
from registry.backup.port import target_errors_said, write_all
from registry.backup.record import ID, Snapshot, decoded, encoded
from registry.blobs import CHUNK_BYTES, file_chunks
from registry.errors import BackupError, TargetError, TargetExistsError

SUFFIX = ".tar"
_BLOCK = 512
_BLOB = re.compile(r"blobs/([0-9a-f]{64})")
_SNAPSHOT = re.compile(rf"snapshots/({ID.pattern})\.json")
MAX_SNAPSHOT_BYTES = 2**30


class ArchiveSink:
    """Made by ``writing``."""

    def __init__(self, target: Path, file: IO[bytes], staging: Path) -> None:
        self._target, self._file = target, file
        self.staging = staging
        self._there: set[str] = set()
        self.is_committed = False

    def last_id(self) -> str | None:
        """A file has one snapshot."""
        return None

    def has(self, digest: str, size_bytes: int) -> bool:
        """Whether it was added before."""
        return digest in self._there

    def add(self, digest: str, size_bytes: int, chunks: Iterable[bytes]) -> None:
        """See Sink."""
        began = self._file.tell()
        try:
            self._write(f"blobs/{digest.removeprefix('sha256:')}", size_bytes, chunks)
        except BaseException:
            with target_errors_said(self._target):
                self._file.seek(began)
                self._file.truncate()
            raise
        self._there.add(digest)

    def adopt(self, file: Path, digest: str, size_bytes: int) -> None:
        """See Sink."""
        with target_errors_said(self._target):
            opened = file.open("rb")
        with opened:
            self.add(digest, size_bytes, file_chunks(opened))
        file.unlink()

    def commit(self, snapshot: Snapshot, keep: int) -> None:
        """See Sink."""
        data = encoded(snapshot)
        self._write(f"snapshots/{snapshot.id}.json", len(data), [data])
        with target_errors_said(self._target):
            write_all(self._file, bytes(2 * _BLOCK))
            os.fsync(self._file.fileno())
            os.replace(_partial(self._target), self._target)
            sync_folder(self._target.absolute().parent)
        self.is_committed = True

    def _write(self, name: str, size_bytes: int, chunks: Iterable[bytes]) -> None:
        entry = tarfile.TarInfo(name)
        entry.size, entry.mode = size_bytes, 0o600
        with target_errors_said(self._target):
            write_all(self._file, entry.tobuf(tarfile.GNU_FORMAT))
        done = 0
        for chunk in chunks:
            done += len(chunk)
            with target_errors_said(self._target):
                write_all(self._file, chunk)
        if done != size_bytes:
            raise TargetError("a file changed while it was copied; try again")
        with target_errors_said(self._target):
            write_all(self._file, bytes(-size_bytes % _BLOCK))


class ArchiveSource:
    """See Source."""

    def __init__(self, path: Path, entries: dict[str, tuple[int, int]]) -> None:
        self._path, self._entries = path, entries

    def ids(self) -> list[str]:
        """See Source."""
        matches = map(_SNAPSHOT.fullmatch, self._entries)
        return sorted(match[1] for match in matches if match is not None)

    def snapshot(self, id: str) -> Snapshot:
        """See Source."""
        name = f"snapshots/{id}.json"
        if self._entries.get(name, (0, 0))[1] > MAX_SNAPSHOT_BYTES:
            raise BackupError("a snapshot of the backup is larger than any can be")
        return decoded(b"".join(self._pieces(name)))

    def chunks(self, digest: str) -> Iterator[bytes]:
        """See Source."""
        hashed = hashlib.sha256()
        for chunk in self._pieces(f"blobs/{digest.removeprefix('sha256:')}"):
            hashed.update(chunk)
            yield chunk
        if f"sha256:{hashed.hexdigest()}" != digest:
            raise BackupError(f"{digest} is damaged in the backup")

    def _pieces(self, name: str) -> Iterator[bytes]:
        if name not in self._entries:
            raise BackupError(f"'{name}' is not in the backup")
        offset, left = self._entries[name]
        try:
            with self._path.open("rb") as file:
                file.seek(offset)
                while left > 0 and (chunk := file.read(min(CHUNK_BYTES, left))):
                    left -= len(chunk)
                    yield chunk
        except OSError as error:
            raise BackupError(f"the backup cannot be read: {error.strerror}") from error
        if left:
            raise BackupError(f"'{name}' is cut off in the backup")


@contextmanager
def writing(target: Path) -> Iterator[ArchiveSink]:
    """``target`` is there, or replaced, once a snapshot was committed; a file that is no backup is
    not. Raises TargetExistsError, TargetError."""
    if os.path.lexists(target):
        try:
            with reading(target):
                pass
        except BackupError:
            raise TargetExistsError(
                f"'{target}' is there and no whole backup; move it away or name another"
            ) from None
    with target_errors_said(target):
        target.absolute().parent.mkdir(parents=True, exist_ok=True)
        file = _opened(target)
    staging = target.with_name(f".{target.name}.staging")
    with file:
        sink = ArchiveSink(target, file, staging)
        try:
            with target_errors_said(target):
                shutil.rmtree(staging, ignore_errors=True)
                staging.mkdir(mode=0o700)
            yield sink
        finally:
            shutil.rmtree(staging, ignore_errors=True)
            if not sink.is_committed:
                with suppress(OSError):
                    _partial(target).unlink()


@contextmanager
def reading(path: Path) -> Iterator[ArchiveSource]:
    """Raises BackupError for what is no whole backup."""
    entries: dict[str, tuple[int, int]] = {}
    try:
        with tarfile.open(path, "r:") as archive:
            while (entry := archive.next()) is not None:
                is_ours = _BLOB.fullmatch(entry.name) or _SNAPSHOT.fullmatch(entry.name)
                if entry.isreg() and is_ours:
                    entries[entry.name] = (entry.offset_data, entry.size)
                archive.members = []  # type: ignore[attr-defined]  # else it keeps all of them
    except (tarfile.TarError, OSError, ValueError, EOFError) as error:
        raise BackupError(f"'{path}' is no backup, or is damaged") from error
    source = ArchiveSource(path, entries)
    if not source.ids():
        raise BackupError(f"'{path}' is no backup, or is cut off")
    yield source


def _partial(target: Path) -> Path:
    return target.with_name(f".{target.name}.partial")


def _opened(target: Path) -> IO[bytes]:
    """The partial file, empty and locked, and still the one of its name: who wrote it before may
    have renamed it meanwhile."""
    path = _partial(target)
    while True:
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            with suppress(FileNotFoundError):
                if os.stat(path).st_ino == os.fstat(handle).st_ino:
                    os.ftruncate(handle, 0)
                    return os.fdopen(handle, "r+b", 0)
        except BlockingIOError:
            os.close(handle)
            raise TargetError(
                f"another process writes the backup '{target}'; try again later"
            ) from None
        os.close(handle)
