"""Restores a backup into a new folder: verified, whole or not at all."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from registry.backup import contents
from registry.backup.folder import sync_folder
from registry.backup.opening import chosen, reading
from registry.backup.port import Nobody, Source, Watcher, target_errors_said, write_all
from registry.backup.record import DATABASE, SavedFile, Snapshot
from registry.blobs import BlobStore
from registry.database import Database
from registry.errors import BackupError, NoWorkspaceError
from registry.folders import new_folder
from registry.paths import WorkspacePaths
from registry.workspace import Workspace

_SETTLED = (
    # Its uploads/ is empty: a client begins anew.
    "DELETE FROM blob_uploads",
    "DELETE FROM activities WHERE state = 'running' AND kind = 'backup'",
    "UPDATE activities SET state = 'failed', ended_at = ?,"
    " cause = 'it ran when the backup was made that this workspace was restored from'"
    " WHERE state = 'running'",
)


@dataclass(frozen=True, slots=True)
class Restored:
    """``damaged``: what the backup had no whole bytes of; ``missing``: what to do by hand, as the
    backup has no keys: lines for people."""

    snapshot: Snapshot
    damaged: tuple[str, ...]
    missing: tuple[str, ...]


def restore(
    path: Path,
    root: Path,
    *,
    snapshot: str | None = None,
    despite_damage: bool = False,
    watcher: Watcher | None = None,
) -> Restored:
    """Make the workspace ``root`` from the backup ``path``, as its newest snapshot was, or the one
    with the id ``snapshot``. Databases of an older Inferry are brought up to date.

    ``despite_damage``: without the stored files that are damaged in the backup. Raises BackupError,
    TargetExistsError for a folder that is not empty, TargetError, CancelledError; then nothing is
    there."""
    watcher = watcher or Nobody()
    with reading(path) as source:
        found = chosen(source, snapshot)
        with target_errors_said(root), new_folder(root) as made:
            damaged = _write(source, found, made, watcher, despite_damage=despite_damage)
            watcher.phase("Bringing it up to date")
            missing = _settled(made, found)
            _sync_all(made)
        with target_errors_said(root):
            sync_folder(root.absolute().parent)
    return Restored(found, tuple(damaged), missing)


def _write(
    source: Source, found: Snapshot, made: Path, watcher: Watcher, *, despite_damage: bool
) -> list[str]:
    """The digests of stored files that are damaged, if that is allowed."""
    if DATABASE not in {file.path for file in found.files}:
        raise BackupError("the snapshot has no database")
    for file in found.files:
        if not contents.is_kept(file.path):
            raise BackupError("the backup has a file that belongs to no workspace")
    paths = WorkspacePaths(made)
    BlobStore(paths).create()
    paths.leases.mkdir()
    watcher.phase("Writing files", sum(file.size_bytes for file in found.files))
    for file in found.files:
        _write_file(made / file.path, _watched(source.chunks(file.digest), watcher), _mode(file))
    watcher.phase("Writing stored files", sum(size for _, size in found.blobs))
    damaged = [*found.lost]
    for digest, _ in found.blobs:
        blob = paths.blob(digest)
        try:
            _write_file(blob, _watched(source.chunks(digest), watcher), 0o444)
        except BackupError as error:
            blob.unlink(missing_ok=True)
            if not despite_damage:
                raise BackupError(
                    f"{error}; another snapshot may be whole (inferry backup --verify), or go"
                    " without it: --despite-damage"
                ) from error
            damaged.append(digest)
    return damaged


def _mode(file: SavedFile) -> int:
    """Keys and databases are their owner's, whatever the backup says."""
    if file.path in contents.DATABASES:
        return 0o644 if file.path == DATABASE else 0o600
    return file.mode & (0o644 if contents.is_key(file.path) else 0o777)


def _settled(made: Path, found: Snapshot) -> tuple[str, ...]:
    """The databases are brought up to date, and what was under way is not any more."""
    try:
        for path in contents.DATABASES:
            if (made / path).is_file():
                with closing(sqlite3.connect(made / path, isolation_level=None)) as connection:
                    connection.execute("PRAGMA journal_mode = WAL")
        database = Database(made / DATABASE)
        database.migrate()
        for copy in made.glob(f"{DATABASE}.before-*"):
            copy.unlink()  # the backup has it
        with database.write() as connection:
            for statement in _SETTLED:
                given = (found.made_at,) if "?" in statement else ()
                connection.execute(statement, given)
        missing = () if found.has_keys else _missing(made, database)
        Workspace.open(made).space.tidy()  # rows that have expired, and the store's index
    except (sqlite3.Error, NoWorkspaceError) as error:
        raise BackupError(f"the database in the backup cannot be used: {error}") from error
    return missing


def _missing(made: Path, database: Database) -> tuple[str, ...]:
    """What the keys were for, by what is there."""
    with database.read() as connection:
        sealed = [
            *(f"secrets of deployment {row[0]}" for row in connection.execute(_SECRETS)),
            *(f"keys of deployment {row[0]}" for row in connection.execute(_KEYS)),
            *(f"credentials of datastore {row[0]}" for row in connection.execute(_CREDENTIALS)),
            *(f"secret of activity hook {row[0]}" for row in connection.execute(_HOOKS)),
        ]
        [has_images] = connection.execute("SELECT count(*) FROM image_versions").fetchone()
    lines = []
    if sealed:
        lines.append(f"cannot be opened, set them again: {', '.join(sealed)}")
    if has_images:
        lines.append("images are signed by a new key from now on: give devices the new public key")
    if (made / "edge/hub.db").is_file():
        lines.append("devices do not know the new authority: enroll them again")
    return tuple(lines)


_SECRETS = "SELECT DISTINCT deployment FROM deployment_secrets ORDER BY 1"
_KEYS = "SELECT DISTINCT deployment FROM deployment_keys ORDER BY 1"
_HOOKS = "SELECT id FROM activity_hooks ORDER BY 1"
_CREDENTIALS = "SELECT DISTINCT datastore FROM datastore_secrets ORDER BY 1"


def _write_file(path: Path, chunks: Iterable[bytes], mode: int) -> None:
    """A new file, synced. Raises OSError, and what ``chunks`` raises."""
    path.parent.mkdir(mode=0o700 if mode & 0o077 == 0 else 0o755, parents=True, exist_ok=True)
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with open(handle, "wb", 0) as file:
        for chunk in chunks:
            write_all(file, chunk)
        os.fchmod(file.fileno(), mode)
        os.fsync(file.fileno())


def _watched(chunks: Iterator[bytes], watcher: Watcher) -> Iterator[bytes]:
    for chunk in chunks:
        watcher.advance(len(chunk))
        yield chunk


def _sync_all(folder: Path) -> None:
    """Every folder's names; the files are synced already, but for what SQLite and the store wrote,
    which sync themselves."""
    for path, _, _ in os.walk(folder):
        sync_folder(Path(path))
