"""Snapshots: the files that a run was submitted with, and how to run them again.

    snapshot = workspace.tracking.snapshots.keep(run.id, files, config=document)
    workspace.tracking.snapshots.download(run.id, Path("here"))

A file is in the store once, however many snapshots have it: one that differs in a line costs that
file and a row for each name. ``Workspace.purge`` frees what no run uses any more.
"""

from __future__ import annotations

import hashlib
import json
import os
import sqlite3
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from registry import tree
from registry.blobs import BlobStore, file_chunks
from registry.database import Database
from registry.errors import (
    InvalidSourceError,
    NotFoundError,
    RegistryError,
    WorkspaceDamagedError,
)
from registry.folders import new_file, new_folder, write_file
from registry.leases import lease
from registry.paths import WorkspacePaths
from registry.publishing import publishing
from registry.tracking.now import NowMs
from registry.tracking.run_rows import find_key, key_of

Progress = Callable[[int, int], None]
"""Called with bytes done and bytes in all."""
Sources = Mapping[str, tree.SourceFile]
"""By path in the snapshot."""
SMALL_BYTES = 4 * 1024 * 1024
AT_ONCE = 8
ZIP_TIME = (1980, 1, 1, 0, 0, 0)
"""A file in a zip needs a time, and the same snapshot is to give the same zip."""


@dataclass(frozen=True, slots=True)
class SnapshotFile:
    """One file: its POSIX path in the snapshot, and its bytes in the store."""

    path: str
    size_bytes: int
    digest: str
    is_executable: bool


Chunks = Callable[[SnapshotFile], Iterable[bytes]]
"""The bytes of a file, verified."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """``digest``: of the names and contents of all files."""

    digest: str
    files: tuple[SnapshotFile, ...]

    @property
    def size_bytes(self) -> int:
        """Of all files."""
        return sum(file.size_bytes for file in self.files)


@dataclass(frozen=True, slots=True)
class Submission:
    """What a run was submitted as. ``config``: a JSON document, of whoever submitted it;
    ``inputs``: by name."""

    snapshot: Snapshot
    config: str
    inputs: Mapping[str, Snapshot]


class Snapshots:
    """Those of one workspace. A run is named by its id, or as a person names one."""

    def __init__(
        self, paths: WorkspacePaths, database: Database, store: BlobStore, now_ms: NowMs
    ) -> None:
        self._paths = paths
        self._database = database
        self._store = store
        self._now_ms = now_ms

    def keep(
        self,
        run: str,
        sources: Sources,
        *,
        config: str,
        inputs: Mapping[str, Sources] | None = None,
        on_progress: Progress = lambda done, total: None,
    ) -> Submission:
        """Keep these files, and that the run was submitted with them; all or nothing. Raises
        InvalidSourceError for a file that changes meanwhile, StoreFullError."""
        several = {"": sources, **{f"/{name}": found for name, found in (inputs or {}).items()}}
        total = sum(file.size_bytes for found in several.values() for file in found.values())
        done = 0

        def count(size: int) -> None:
            nonlocal done
            done += size
            on_progress(min(done, total), total)

        with publishing(self._paths, self._database, self._store) as store:
            before = {
                name: [_seen(file) for file in found.values()] for name, found in several.items()
            }
            made = {name: _stored(store, found, count) for name, found in several.items()}
            for name, found in several.items():
                _check_still(found.values(), before[name])
            self._write(store, run, made, config)
        return _submission(made, config)

    def keep_stored(
        self,
        run: str,
        snapshot: Snapshot,
        *,
        config: str,
        inputs: Mapping[str, Snapshot] | None = None,
    ) -> Submission:
        """The same of files that are in the store, where something holds them until this returns.
        Raises WorkspaceDamagedError for one that is gone."""
        made = {"": snapshot, **{f"/{name}": each for name, each in (inputs or {}).items()}}
        with publishing(self._paths, self._database, self._store) as store:
            self._write(store, run, made, config)
        return _submission(made, config)

    def of_run(self, ref: str) -> Submission:
        """What it was submitted with. Raises NotFoundError, also for a run that was not."""
        with self._database.read() as connection:
            key = find_key(connection, ref)
            row = connection.execute(
                "SELECT snapshot, config FROM submissions WHERE run = ?", (key,)
            ).fetchone()
            if row is None:
                raise NotFoundError(f"run {ascii(ref)[:80]} was not submitted; it has no snapshot")
            inputs = connection.execute(
                "SELECT name, snapshot FROM submission_inputs WHERE run = ? ORDER BY name", (key,)
            ).fetchall()
            made = {"": _read(connection, row["snapshot"])}
            made |= {f"/{each['name']}": _read(connection, each["snapshot"]) for each in inputs}
        return _submission(made, row["config"])

    def download(self, ref: str, target: Path) -> Snapshot:
        """Write the files of its snapshot to the new folder ``target``. Raises NotFoundError,
        TargetExistsError, DamagedBlobError."""
        with self.held():
            snapshot = self.of_run(ref).snapshot
            fill_folder(snapshot, self.chunks, target)
        return snapshot

    def download_zip(self, ref: str, target: Path) -> Snapshot:
        """The same to the new zip ``target``, the same bytes each time."""
        with self.held():
            snapshot = self.of_run(ref).snapshot
            fill_zip(snapshot, self.chunks, target)
        return snapshot

    def file(self, ref: str, path: str) -> SnapshotFile:
        """One of its files. Raises NotFoundError."""
        with self._database.read() as connection:
            row = connection.execute(
                "SELECT f.path, f.size_bytes, f.digest, f.is_executable FROM submissions s"
                " JOIN snapshot_files f ON f.snapshot = s.snapshot WHERE s.run = ? AND f.path = ?",
                (find_key(connection, ref), path),
            ).fetchone()
        if row is None:
            raise NotFoundError(
                f"the snapshot of run {ascii(ref)[:80]} has no file {ascii(path)[:80]};"
                " see inferry run snapshot files"
            )
        return SnapshotFile(row[0], row[1], row[2], bool(row[3]))

    def write_zip(self, snapshot: Snapshot, file: IO[bytes]) -> None:
        """The snapshot as a zip, the same bytes each time."""
        with self.held():
            write_zip(snapshot, self.chunks, file)

    def chunks(self, file: SnapshotFile) -> Iterator[bytes]:
        """Its bytes, verified; in a block of ``held``. Raises DamagedBlobError."""
        return self._store.chunks(file.digest)

    @contextmanager
    def held(self) -> Iterator[None]:
        """No purge takes a file of a run during the block, though the run be removed. Of a
        workspace that cannot be written nobody purges anything."""
        from contextlib import ExitStack

        with ExitStack() as stack:
            with suppress(OSError, RegistryError):
                stack.enter_context(lease(self._paths.leases, self._store.moving))
            yield

    def _write(self, store: BlobStore, run: str, made: Mapping[str, Snapshot], config: str) -> None:
        """``made``: "" is the code, ``/NAME`` an input."""
        with self._database.write() as connection:
            key = key_of(connection, run)
            for snapshot in made.values():
                self._record(connection, store, snapshot)
            connection.execute(
                "INSERT INTO submissions VALUES (?, ?, ?)", (key, made[""].digest, config)
            )
            connection.executemany(
                "INSERT INTO submission_inputs VALUES (?, ?, ?)",
                [(key, name[1:], each.digest) for name, each in made.items() if name],
            )

    def _record(self, connection: sqlite3.Connection, store: BlobStore, snapshot: Snapshot) -> None:
        if not all(store.has(file.digest) for file in snapshot.files):
            raise WorkspaceDamagedError(
                "a stored file was purged before it was recorded; try again"
            )
        made = connection.execute(
            "INSERT OR IGNORE INTO snapshots VALUES (?, ?, ?, ?)",
            (snapshot.digest, len(snapshot.files), snapshot.size_bytes, self._now_ms()),
        )
        if made.rowcount:
            connection.executemany(
                "INSERT INTO snapshot_files VALUES (?, ?, ?, ?, ?)",
                [
                    (snapshot.digest, f.path, f.size_bytes, f.digest, int(f.is_executable))
                    for f in snapshot.files
                ],
            )


def _stored(store: BlobStore, sources: Sources, count: Callable[[int], None]) -> Snapshot:
    """Small files several at a time: each waits for the disk to have it. ``count`` is called on
    this thread."""
    from concurrent.futures import ThreadPoolExecutor  # scripts load this module, and wait for it

    small = {p: file for p, file in sources.items() if file.size_bytes <= SMALL_BYTES}
    found = {}
    pool = ThreadPoolExecutor(AT_ONCE)
    try:
        waiting = {path: pool.submit(_stored_file, store, file) for path, file in small.items()}
        for path, file in sources.items():
            if path in small:
                found[path] = waiting[path].result()
                count(file.size_bytes)
            else:
                found[path] = _stored_file(store, file, count)
    finally:
        pool.shutdown(cancel_futures=True)
    return snapshot_of(
        SnapshotFile(path, file.size_bytes, found[path], file.is_executable)
        for path, file in sources.items()
    )


def snapshot_of(files: Iterable[SnapshotFile]) -> Snapshot:
    """Of files that are in the store, or will be. Pure."""
    ordered = tuple(sorted(files, key=lambda file: file.path))
    listed = [[file.path, file.size_bytes, file.digest, file.is_executable] for file in ordered]
    text = json.dumps(listed, separators=(",", ":"))
    return Snapshot(f"sha256:{hashlib.sha256(text.encode()).hexdigest()}", ordered)


def _stored_file(
    store: BlobStore, source: tree.SourceFile, count: Callable[[int], None] = lambda size: None
) -> str:
    """Its digest. A small one that the store has is not written again."""
    if source.size_bytes <= SMALL_BYTES:
        with source.open() as opened:
            digest = f"sha256:{hashlib.sha256(opened.read()).hexdigest()}"
        if store.has(digest) and store.renew(digest):
            return digest
    with store.writer() as (write, finish):
        with source.open() as opened:
            for chunk in file_chunks(opened):
                write(chunk)
                count(len(chunk))
        return finish()[0]


def fill_folder(snapshot: Snapshot, chunks: Chunks, target: Path) -> None:
    """Its files in the new folder ``target``, whole or not at all. Raises TargetExistsError."""
    with new_folder(target) as folder:
        for file in snapshot.files:
            write_file(folder / file.path, chunks(file), is_executable=file.is_executable)


def fill_zip(snapshot: Snapshot, chunks: Chunks, target: Path) -> None:
    """The same as the new zip ``target``."""
    with new_file(target) as file:
        write_zip(snapshot, chunks, file)


def write_zip(snapshot: Snapshot, chunks: Chunks, file: IO[bytes]) -> None:
    """The same bytes each time."""
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for each in snapshot.files:
            info = zipfile.ZipInfo(each.path, ZIP_TIME)
            info.compress_type = zipfile.ZIP_DEFLATED
            info.create_system = 3  # Unix, so that the mode means something
            info.external_attr = (0o100755 if each.is_executable else 0o100644) << 16
            info.file_size = each.size_bytes  # a large one needs the larger header
            with archive.open(info, "w") as opened:
                for chunk in chunks(each):
                    opened.write(chunk)


def _seen(file: tree.SourceFile) -> tuple[int, int, int] | None:
    with suppress(OSError):
        status = os.lstat(file.root / file.path)
        return status.st_mtime_ns, status.st_size, status.st_ino
    return None


def _check_still(
    files: Iterable[tree.SourceFile], before: Sequence[tuple[int, int, int] | None]
) -> None:
    """Files that belong together are as they were when the first was read."""
    for file, seen in zip(files, before, strict=True):
        if _seen(file) != seen:
            raise InvalidSourceError(
                f"'{tree.shown(file.path)}' changed while the snapshot was taken; try again"
            )


def _read(connection: sqlite3.Connection, digest: str) -> Snapshot:
    rows = connection.execute(
        "SELECT path, size_bytes, digest, is_executable FROM snapshot_files WHERE snapshot = ?"
        " ORDER BY path",
        (digest,),
    )
    files = (SnapshotFile(row[0], row[1], row[2], bool(row[3])) for row in rows)
    return Snapshot(digest, tuple(files))


def _submission(made: Mapping[str, Snapshot], config: str) -> Submission:
    return Submission(made[""], config, {name[1:]: each for name, each in made.items() if name})
