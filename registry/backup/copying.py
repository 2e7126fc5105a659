"""A database as it is at one moment, copied while others write (SQLite's online backup).

The source connection is within a transaction, so that all pages are of the same moment, however
long it takes; writers go on, and their journal grows meanwhile.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from registry.errors import TargetError, WorkspaceDamagedError

STEP_PAGES = 2048


def copy_database(
    source: sqlite3.Connection, target: Path, on_progress: Callable[[int], None]
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
