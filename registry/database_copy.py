"""A database as it is at one moment, copied while others write (SQLite's online backup).

The source connection is within a transaction, so that all pages are of the same moment, however
long it takes; writers go on, and their journal grows meanwhile.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from registry.errors import TargetError, WorkspaceDamagedError

STEP_PAGES = 2048
MAX_KEPT_BYTES = 4 * 1024**3
KEPT = 2
_PARTIAL = ".partial"


def copy_database(
    source: sqlite3.Connection, target: Path, on_progress: Callable[[int], None] = lambda _: None
) -> None:
    """Write the new file ``target``, checked and synced; ``on_progress`` gets the bytes of each
    step. Raises TargetError where it cannot be written, WorkspaceDamagedError where the source is
    damaged, and sqlite3.Error."""
    page_bytes = int(source.execute("PRAGMA page_size").fetchone()[0])
    done = 0

    def step(_status: int, remaining: int, total: int) -> None:
        nonlocal done
        now = (total - remaining) * page_bytes
        on_progress(max(0, now - done))
        done = now

    try:
        with closing(sqlite3.connect(target, isolation_level=None)) as copy:
            copy.execute("PRAGMA synchronous = OFF")  # the file is synced as a whole below
            source.backup(copy, pages=STEP_PAGES, progress=step)
        _check(target)
    except sqlite3.Error as error:
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        if code in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN):
            raise TargetError(
                "no space is left for the copy of the database; free some and try again; what was"
                " there before is whole"
            ) from error
        raise
    handle = os.open(target, os.O_RDONLY)
    try:
        os.fchmod(handle, 0o600)
        os.fsync(handle)
    finally:
        os.close(handle)


def _check(copy: Path) -> None:
    """A damaged database must not take the place of a good one. The copy leaves the journal mode
    that the source has: side files beside it would not be in the backup."""
    with closing(sqlite3.connect(copy, isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode = DELETE")
        try:
            [found] = connection.execute("PRAGMA quick_check(1)").fetchone()
        except sqlite3.DatabaseError as error:
            found = str(error)
        if found != "ok":
            raise WorkspaceDamagedError(
                "the database is damaged and was not backed up; restore the last backup:"
                " inferry restore"
            )


def keep_copy(
    source: sqlite3.Connection, database: Path, version: int, *, max_bytes: int = MAX_KEPT_BYTES
) -> Path | None:
    """Keep the database ``database``, which ``source`` reads, as ``<name>.before-<version>`` beside
    it; of such copies the newest KEPT stay. None where it is larger than ``max_bytes`` or does not
    fit: an upgrade is not refused for that. To be called by one process at a time."""
    for stray in database.parent.glob(f"{database.name}.before-*{_PARTIAL}"):
        stray.unlink(missing_ok=True)  # of one that was killed
    kept = database.with_name(f"{database.name}.before-{version}")
    partial = kept.with_name(kept.name + _PARTIAL)
    try:
        if _size_bytes(source) > min(max_bytes, shutil.disk_usage(database.parent).free):
            return None
        copy_database(source, partial)
        os.replace(partial, kept)
        _sync_folder(database.parent)
    except (OSError, TargetError):
        partial.unlink(missing_ok=True)
        return None
    _forget(database)
    return kept


def _forget(database: Path) -> None:
    """All but the newest copies; files that only look so are not ours."""
    start = f"{database.name}.before-"
    numbers = [path.name.removeprefix(start) for path in database.parent.glob(f"{start}*")]
    for number in sorted((int(each) for each in numbers if each.isdigit()), reverse=True)[KEPT:]:
        database.with_name(f"{start}{number}").unlink(missing_ok=True)


def _size_bytes(source: sqlite3.Connection) -> int:
    pages, page_bytes = (
        int(source.execute(f"PRAGMA {name}").fetchone()[0]) for name in ("page_count", "page_size")
    )
    return pages * page_bytes


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
