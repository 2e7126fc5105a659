"""Makes a backup: of one moment, while others write and purge.

1. A lease begins: purge keeps what is younger than it (registry/leases.py).
2. While no purge can sweep, a transaction begins to read, and every blob that it names is made as
   young as one just published. From now on none of them can go, whoever deletes what.
3. The database is copied within that transaction, then files, then blobs, then the snapshot is
   committed. So whatever the copied database names is in the backup.
"""

from __future__ import annotations

import hashlib
import os
import sqlite3
from collections.abc import Iterator
from contextlib import AbstractContextManager, closing
from dataclasses import dataclass, field
from pathlib import Path

from registry.backup import archive, contents, folder
from registry.backup.port import Nobody, Sink, Watcher, target_errors_said, write_all
from registry.backup.record import DATABASE, SavedFile, Snapshot, new_id
from registry.blobs import CHUNK_BYTES, BlobStore, disk_errors_said
from registry.clock import Clock, utc_now
from registry.database import MIGRATIONS, Database, translate
from registry.database_copy import copy_database
from registry.errors import BackupError, DamagedBlobError, TargetError
from registry.leases import lease
from registry.paths import WorkspacePaths
from registry.purge import reachable

KEEP = 3
"""Snapshots of a folder, unless said otherwise. Each has a database of its own; what else they have
in common is there once."""
_COUNTED = {
    "models": "model_versions",
    "images": "image_versions",
    "runs": "runs",
    "deployments": "deployments",
}


@dataclass(frozen=True, slots=True)
class Made:
    """``new_bytes``: what the backup did not have yet; ``left_out``: files that no backup keeps,
    as nobody knows them or they are no plain files."""

    snapshot: Snapshot
    new_files: int
    new_bytes: int
    left_out: tuple[str, ...]


@dataclass(slots=True)
class _Copying:
    """What was done so far."""

    sink: Sink
    rehash: bool
    new_files: int = 0
    new_bytes: int = 0
    files: list[SavedFile] = field(default_factory=list)

    def needs(self, digest: str, size_bytes: int) -> bool:
        """Whether it must be added, and counts it then."""
        if self.sink.has(digest, size_bytes) and not (self.rehash and self._is_damaged(digest)):
            return False
        self.new_files += 1
        self.new_bytes += size_bytes
        return True

    def _is_damaged(self, digest: str) -> bool:
        return isinstance(self.sink, folder.FolderSink) and not self.sink.is_whole(digest)


def back_up(
    root: Path,
    target: Path,
    *,
    with_keys: bool = False,
    despite_damage: bool = False,
    rehash: bool = False,
    keep: int = KEEP,
    watcher: Watcher | None = None,
    clock: Clock = utc_now,
    made_by: str = "inferry",
) -> Made:
    """Back up the workspace at ``root`` to ``target``: a .tar file, or a folder, which gets what it
    has not and then forgets all but its newest ``keep`` snapshots.

    ``with_keys``: also what opens secrets and signs. ``rehash``: what the folder has is read too,
    and replaced where it is damaged. ``despite_damage``: without the blobs that the workspace has
    no whole ones of. Nothing of the backup before is lost by a failure. Raises TargetError,
    DamagedBlobError, WorkspaceDamagedError, CancelledError."""
    watcher = watcher or Nobody()
    _check_apart(root, target)
    paths = WorkspacePaths(root)
    store = BlobStore(paths)
    with writing(target) as sink, disk_errors_said(), lease(paths.leases, store.moving):
        copying = _Copying(sink, rehash)
        named, counts = _copied_database(paths, store, copying, watcher)
        found = _listed(root, with_keys=with_keys)
        for path in found.databases:
            if path != DATABASE:
                _copy_other_database(root, path, copying, watcher)
        gone = _copy_files(root, found.files, copying, watcher)
        blobs, lost = _copy_blobs(store, named, copying, watcher, despite_damage=despite_damage)
        made_at = clock()
        snapshot = Snapshot(
            id=new_id(sink.last_id(), made_at),
            made_at=made_at,
            made_by=made_by,
            database_version=len(MIGRATIONS),
            has_keys=with_keys,
            counts=counts,
            files=tuple(copying.files),
            blobs=tuple(blobs),
            lost=tuple(lost),
        )
        watcher.phase("Writing to the disk")
        sink.commit(snapshot, keep)
        left_out = (*found.left_out, *gone)
        return Made(snapshot, copying.new_files, copying.new_bytes, left_out)


def writing(target: Path) -> AbstractContextManager[Sink]:
    """Where the backup goes, by its name."""
    if target.suffix == archive.SUFFIX and not target.is_dir():
        return archive.writing(target)
    return folder.writing(target)


def _check_apart(root: Path, target: Path) -> None:
    """A backup inside of the workspace goes with it, and one around it would hold itself."""
    inner, outer = target.resolve(), root.resolve()
    if inner.is_relative_to(outer) or outer.is_relative_to(inner):
        raise TargetError("the backup must lie outside of the workspace; name another place")


def _copied_database(
    paths: WorkspacePaths, store: BlobStore, copying: _Copying, watcher: Watcher
) -> tuple[dict[str, int | None], dict[str, int]]:
    """The blobs that the copied database names, with their sizes, and how many records it has."""
    database = Database(paths.database)
    with database.read() as connection:
        with store.moving():
            digests = {each for each in reachable(connection, store) if each.startswith("sha256:")}
            store.touch(digests)
        sizes = {digest: store.size(digest) for digest in sorted(digests)}
        counts = {
            name: int(connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0])
            for name, table in _COUNTED.items()
        }
        watcher.phase("Copying the database", paths.database.stat().st_size)
        _adopt_copy(connection, DATABASE, copying, watcher)
    return sizes, counts


def _copy_other_database(root: Path, path: str, copying: _Copying, watcher: Watcher) -> None:
    watcher.phase(f"Copying {path}", (root / path).stat().st_size)
    try:
        with closing(sqlite3.connect(root / path, timeout=30, isolation_level=None)) as connection:
            connection.execute("BEGIN")
            _adopt_copy(connection, path, copying, watcher)
    except sqlite3.Error as error:
        raise translate(error) from error


def _adopt_copy(
    connection: sqlite3.Connection, path: str, copying: _Copying, watcher: Watcher
) -> None:
    staged = copying.sink.staging / "database"
    copy_database(connection, staged, watcher.advance)
    with target_errors_said(staged):
        with staged.open("rb") as file:
            digest = f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}"
        size = staged.stat().st_size
        if copying.needs(digest, size):
            copying.sink.adopt(staged, digest, size)
        else:
            staged.unlink()
    copying.files.append(SavedFile(path, digest, size))


def _listed(root: Path, *, with_keys: bool) -> contents.Contents:
    try:
        return contents.read(root, with_keys=with_keys)
    except OSError as error:
        raise BackupError(f"the workspace cannot be read: {error.strerror}") from error


def _copy_files(
    root: Path, files: tuple[contents.Found, ...], copying: _Copying, watcher: Watcher
) -> list[str]:
    """The paths of those that were gone, or no plain files any more."""
    watcher.phase("Copying files", sum(file.size_bytes for file in files))
    gone = []
    for found in files:
        staged = copying.sink.staging / "file"
        try:
            digest, size = _staged(root, found.path, staged, watcher)
        except FileNotFoundError:
            if not contents.is_log(found.path):  # those go whenever their records do
                gone.append(found.path)
            continue
        if copying.needs(digest, size):
            copying.sink.adopt(staged, digest, size)
        copying.files.append(SavedFile(found.path, digest, size, found.mode))
    return gone


def _staged(root: Path, path: str, staged: Path, watcher: Watcher) -> tuple[str, int]:
    """A copy of the file, its digest and size. Raises FileNotFoundError, BackupError, and
    TargetError."""
    hashed, size = hashlib.sha256(), 0
    with target_errors_said(staged):
        target = staged.open("wb", 0)
    with target:
        for chunk in _file_chunks(root / path, path):
            hashed.update(chunk)
            size += len(chunk)
            with target_errors_said(staged):
                write_all(target, chunk)
            watcher.advance(len(chunk))
        with target_errors_said(staged):
            os.fsync(target.fileno())
    return f"sha256:{hashed.hexdigest()}", size


def _file_chunks(file: Path, path: str) -> Iterator[bytes]:
    """Of the plain file; a link in its place is not followed."""
    try:
        handle = os.open(file, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        with open(handle, "rb", 0) as opened:
            while chunk := opened.read(CHUNK_BYTES):
                yield chunk
    except FileNotFoundError:
        raise
    except OSError as error:
        raise BackupError(f"cannot read '{path}': {error.strerror}") from error


def _copy_blobs(
    store: BlobStore,
    named: dict[str, int | None],
    copying: _Copying,
    watcher: Watcher,
    *,
    despite_damage: bool,
) -> tuple[list[tuple[str, int]], list[str]]:
    """Those that are in the backup, and those that the workspace has no whole ones of."""
    watcher.phase("Copying stored files", sum(size or 0 for size in named.values()))
    blobs, lost = [], []
    for digest, size in named.items():
        try:
            if size is None:
                raise DamagedBlobError(digest, "is missing")
            if copying.needs(digest, size):
                copying.sink.add(digest, size, _watched(store.chunks(digest), watcher))
            else:
                watcher.advance(size)
            blobs.append((digest, size))
        except DamagedBlobError:
            if not despite_damage:
                raise
            lost.append(digest)
    return blobs, lost


def _watched(chunks: Iterator[bytes], watcher: Watcher) -> Iterator[bytes]:
    for chunk in chunks:
        watcher.advance(len(chunk))
        yield chunk
