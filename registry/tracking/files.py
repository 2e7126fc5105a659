"""The files of runs: their names are rows, their bytes lie in the workspace's store, once each.

A name that is there already gets the new bytes. Files are read with every byte verified.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from registry import tree
from registry.blobs import BlobStore, file_chunks
from registry.database import Database
from registry.errors import (
    InvalidNameError,
    InvalidSourceError,
    NotFoundError,
    RegistryError,
    WorkspaceDamagedError,
)
from registry.folders import added_files, write_file
from registry.leases import lease
from registry.pages import Page, check_limit, key_of, page_of
from registry.paths import WorkspacePaths
from registry.publishing import publishing
from registry.records import StoredFile
from registry.tracking.now import NowMs
from registry.tracking.records import RunFile
from registry.tracking.run_rows import key_of as key_of_run
from registry.tracking.words import check_folder, check_path, clashes, folders_of

Progress = Callable[[int, int], None]
"""Called with bytes done and bytes in all."""
Found = list[RunFile]
FILES = "files of a run"
"""What page tokens say that they are of."""
MAX_TOKEN_CHARS = 9000
"""A path has up to 1024 bytes, and a token may have three times as many."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What a run may hold."""

    files: int = 100_000
    file_bytes: int = 64 * 1024**3
    run_bytes: int = 1024**4


class RunFiles:
    """Those of the runs of one workspace. A run is named by its id."""

    def __init__(
        self,
        paths: WorkspacePaths,
        database: Database,
        store: BlobStore,
        now_ms: NowMs,
        limits: Limits | None = None,
    ) -> None:
        self._paths = paths
        self._database = database
        self._store = store
        self._now_ms = now_ms
        self._limits = limits or Limits()

    def upload(
        self, id: str, source: Path | str, path: str, on_progress: Progress | None = None
    ) -> Found:
        """Keep the file or folder ``source`` as the file or folder ``path`` of the run ("": a
        folder's files keep their names). All of it or nothing. Symbolic links are refused. Raises
        InvalidNameError, InvalidSourceError, NotFoundError, StoreFullError."""
        found = tree.walk(Path(source))
        is_folder = Path(source).is_dir()
        base = check_folder(path)
        named = {
            check_path("/".join(part for part in (base, file.path) if part))
            if is_folder
            else check_path(path): file
            for file in found
        }
        return self.add(id, named, on_progress)

    def add(
        self,
        id: str,
        sources: Mapping[str, tree.SourceFile],
        on_progress: Progress | None = None,
    ) -> Found:
        """Keep each source under its path in the run."""
        total, done = sum(source.size_bytes for source in sources.values()), 0
        self._check(id, {path: source.size_bytes for path, source in sources.items()})
        with publishing(self._paths, self._database, self._store) as store:
            made = []
            for path, source in sources.items():
                with store.writer() as (write, finish):
                    with source.open() as opened:
                        for chunk in file_chunks(opened):
                            write(chunk)
                            done += len(chunk)
                            if on_progress is not None:
                                on_progress(min(done, total), total)
                    digest, size = finish()
                made.append(RunFile(path, size, digest, self._now_ms()))
            self._record(store, id, made)
        return made

    def put(self, id: str, path: str, chunks: Iterable[bytes]) -> RunFile:
        """Keep bytes as they come, such as a request's body. Raises InvalidNameError for too many,
        NotFoundError, StoreFullError."""
        check_path(path)
        self._check(id, {path: 0})
        with publishing(self._paths, self._database, self._store) as store:
            with store.writer() as (write, finish):
                size = 0
                for chunk in chunks:
                    size += len(chunk)
                    if size > self._limits.file_bytes:
                        raise _too_large(path, self._limits.file_bytes)
                    write(chunk)
                digest, size = finish()
            file = RunFile(path, size, digest, self._now_ms())
            self._record(store, id, [file])
        return file

    def add_stored(self, id: str, files: Sequence[StoredFile]) -> Found:
        """Keep files whose bytes are in the store already, and held there by the caller; all or
        none. Raises InvalidNameError, NotFoundError, InvalidSourceError."""
        self._check(id, {file.path: file.size_bytes for file in files})
        now_ms = self._now_ms()
        made = [RunFile(file.path, file.size_bytes, file.digest, now_ms) for file in files]
        self._record(self._store, id, made)
        return made

    def list(self, id: str, folder: str = "") -> Found:
        """The files below ``folder``, or just the file of that path, by path. Raises
        NotFoundError where there is no such run."""
        base = check_folder(folder)
        with self._database.read() as connection:
            return _select(connection, key_of_run(connection, id), base)

    def page(
        self, id: str, folder: str = "", *, limit: int, token: str | None = None
    ) -> Page[RunFile]:
        """At most ``limit`` of ``list`` that follow. Raises NotFoundError, InvalidNameError."""
        check_limit(limit, FILES)
        base = check_folder(folder)
        after = "" if token is None else key_of(FILES, token, MAX_TOKEN_CHARS)[0]
        with self._database.read() as connection:
            key = key_of_run(connection, id)
            found = _select(connection, key, base, limit=limit + 1, after=after)
        return page_of(FILES, found, limit, lambda file: (file.path, 0))

    def get(self, id: str, path: str) -> RunFile:
        """One file. Raises NotFoundError."""
        check_path(path)
        with self._database.read() as connection:
            key = key_of_run(connection, id)
            found = [file for file in _select(connection, key, path) if file.path == path]
        if not found:
            raise NotFoundError(f"the run has no file {path!a}")
        return found[0]

    def read(self, id: str, path: str) -> bytes:
        """All of a small file, verified. Raises NotFoundError, DamagedBlobError."""
        return self._store.read(self.get(id, path).digest)

    def chunks(self, id: str, path: str) -> tuple[RunFile, Iterator[bytes]]:
        """One file piece by piece; a damaged one raises DamagedBlobError at its end. Raises
        NotFoundError."""
        file = self.get(id, path)
        return file, self._store.chunks(file.digest)

    def download(
        self, id: str, target: Path | str, *, folder: str = "", force: bool = False
    ) -> Found:
        """Write the run's files, or those below ``folder``, with their paths below the folder
        ``target``. Raises NotFoundError, TargetExistsError (unless ``force``), DamagedBlobError;
        then nothing is written."""
        with self._held(id, folder) as files:
            if not files:
                raise NotFoundError(
                    f"the run has no file {folder!a}" if folder else "the run has no files"
                )
            with added_files(Path(target), [f.path for f in files], force=force) as filled:
                for file in files:
                    write_file(filled / file.path, self._store.chunks(file.digest))
        return files

    def remove(self, id: str, paths: Sequence[str]) -> None:
        """Forget files; ``Workspace.purge`` frees them. One that is not there does nothing."""
        for path in paths:
            check_path(path)
        with self._database.write() as connection:
            key = key_of_run(connection, id)
            connection.executemany(
                "DELETE FROM run_files WHERE run = ? AND path = ?", [(key, path) for path in paths]
            )

    def _held(self, id: str, folder: str) -> _Held:
        return _Held(self._paths, self._store, lambda: self.list(id, folder))

    def _check(self, id: str, sizes: Mapping[str, int]) -> None:
        """Before anything is written: what would be refused at the end."""
        for path, size in sizes.items():
            check_path(path)
            if size > self._limits.file_bytes:
                raise _too_large(path, self._limits.file_bytes)
        clash = clashes(sizes)
        if clash is not None:
            raise InvalidNameError(f"{clash!a} cannot be both a file and a folder of the run")
        with self._database.read() as connection:
            self._check_room(connection, key_of_run(connection, id), sizes)

    def _check_room(
        self, connection: sqlite3.Connection, key: int, sizes: Mapping[str, int]
    ) -> None:
        for path in sizes:
            for folder in folders_of(path):
                if _select(connection, key, folder, limit=1, exactly=True):
                    raise InvalidNameError(
                        f"{folder!a} is a file of the run already, so it cannot hold {path!a}"
                    )
            if _select(connection, key, f"{path}/", limit=1):
                raise InvalidNameError(f"{path!a} is a folder of the run already")
        count, size = connection.execute(
            "SELECT count(*), ifnull(sum(size_bytes), 0) FROM run_files WHERE run = ?", (key,)
        ).fetchone()
        if count + len(sizes) > self._limits.files:
            raise InvalidSourceError(f"a run has at most {self._limits.files} files")
        if size + sum(sizes.values()) > self._limits.run_bytes:
            raise InvalidSourceError(
                f"the files of a run have at most {self._limits.run_bytes} bytes together"
            )

    def _record(self, store: BlobStore, id: str, files: Sequence[RunFile]) -> None:
        with self._database.write() as connection:
            key = key_of_run(connection, id)
            self._check_room(connection, key, {file.path: file.size_bytes for file in files})
            if not all(store.has(file.digest) for file in files):
                raise WorkspaceDamagedError(
                    "a stored file was purged before it was recorded; try again"
                )
            connection.executemany(
                "INSERT OR REPLACE INTO run_files VALUES (?, ?, ?, ?, ?)",
                [(key, f.path, f.size_bytes, f.digest, f.at_ms) for f in files],
            )


class _Held:
    """The files of a run, none of which a purge takes during the block. Of a workspace that cannot
    be written nobody purges anything."""

    def __init__(self, paths: WorkspacePaths, store: BlobStore, look: Callable[[], Found]) -> None:
        from contextlib import ExitStack

        self._stack = ExitStack()
        self._paths = paths
        self._store = store
        self._look = look

    def __enter__(self) -> Found:
        with suppress(OSError, RegistryError):
            self._stack.enter_context(lease(self._paths.leases, self._store.moving))
        files = self._look()
        with suppress(OSError, RegistryError):
            self._store.touch(file.digest for file in files)
        return files

    def __exit__(self, *exception: object) -> None:
        self._stack.close()


def _select(
    connection: sqlite3.Connection,
    key: int,
    path: str,
    *,
    limit: int = -1,
    exactly: bool = False,
    after: str = "",
) -> Found:
    """The file of this path and, unless ``exactly``, those below it, by path; those behind
    ``after``."""
    base = path.removesuffix("/")
    if not path:
        where, values = "1", []
    elif exactly:
        where, values = "path = ?", [base]
    else:
        where, values = "(path = ? OR (path >= ? AND path < ?))", [path, f"{base}/", f"{base}0"]
    rows = connection.execute(
        f"SELECT path, size_bytes, digest, at_ms FROM run_files WHERE run = ? AND {where}"
        " AND path > ? ORDER BY path LIMIT ?",
        (key, *values, after, limit),
    )
    return [RunFile(*row) for row in rows]


def _too_large(path: str, limit: int) -> InvalidSourceError:
    return InvalidSourceError(f"{path!a} has more than {limit} bytes, as much as a file may have")
