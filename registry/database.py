"""The workspace's SQLite database: how it is opened, read, written and brought up to date.

Every writer is one ``BEGIN IMMEDIATE`` transaction: a transaction that reads first and writes later
is refused at once under WAL, whatever the timeout (research/registry.md, section 5).

    with database.write() as connection:
        connection.execute(...)
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from registry.errors import (
    RegistryError,
    StoreFullError,
    WorkspaceBusyError,
    WorkspaceDamagedError,
)

BUSY_TIMEOUT_S = 30.0
MIGRATIONS = (
    "schema.sql",
    "layers.sql",
    "builds.sql",
    "activities.sql",
    "distribution.sql",
    "deployments.sql",
    "datastores.sql",
    "tracking.sql",
    "roles.sql",
    "snapshots.sql",
    "aliases.sql",
    "logged_models.sql",
    "log_batches.sql",
    "activity_events.sql",
    "run_datasets.sql",
    "activity_origins.sql",
    "lists.sql",
    "logged_values.sql",
)
"""Scripts in order; ``PRAGMA user_version`` counts those that were applied."""


class Database:
    """Short-lived connections to one database file."""

    def __init__(self, path: Path) -> None:
        self._path = path

    @contextmanager
    def read(self) -> Iterator[sqlite3.Connection]:
        """One consistent view. Raises RegistryErrors only."""
        with _translated(), self._connection() as connection:
            connection.execute("BEGIN")
            yield connection

    @contextmanager
    def write(self) -> Iterator[sqlite3.Connection]:
        """One transaction: committed at the end, undone when the block raises."""
        with _translated(), self._connection() as connection:
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
            except BaseException:
                if connection.in_transaction:  # a full disk ends it by itself
                    connection.execute("ROLLBACK")
                raise
            connection.execute("COMMIT")

    @contextmanager
    def held(self) -> Iterator[None]:
        """Keeps the database's side files there for the block. The last connection that closes
        removes them, and on a disk that has become full they could not be made again."""
        with _translated(), closing(self._connect()) as connection:
            connection.execute("PRAGMA user_version").fetchone()
            yield

    def migrate(self) -> None:
        """Create the tables or bring them up to date; safe when several processes start at once.
        Of a database of an older version a copy is kept (registry/database_copy.py)."""
        with _translated(), closing(self._connect()) as connection:
            connection.execute("PRAGMA journal_mode = WAL")
        with self.write() as connection:
            done = _user_version(connection)
            if done > len(MIGRATIONS):
                raise WorkspaceDamagedError(
                    "this workspace was written by a newer Inferry; update Inferry"
                )
            if 0 < done < len(MIGRATIONS):
                self._keep_copy(done)
            for name in MIGRATIONS[done:]:
                for statement in _script(name).split(";\n"):
                    connection.execute(statement)
            connection.execute(f"PRAGMA user_version = {len(MIGRATIONS)}")

    def _keep_copy(self, version: int) -> None:
        """While this process alone may write, so that what another connection reads is all there
        is."""
        from registry.database_copy import keep_copy  # only an upgrade pays for it

        with closing(self._connect()) as connection:
            keep_copy(connection, self._path, version)

    def is_current(self) -> bool:
        """Whether nothing is to be migrated."""
        with self.read() as connection:
            return _user_version(connection) == len(MIGRATIONS)

    @contextmanager
    def _connection(self) -> Iterator[sqlite3.Connection]:
        """For one transaction, which is over when it is given back."""
        with closing(self._connect()) as connection:
            yield connection

    def _connect(self, *, is_of_thread: bool = True) -> sqlite3.Connection:
        connection = sqlite3.connect(
            self._path,
            timeout=BUSY_TIMEOUT_S,
            isolation_level=None,
            check_same_thread=is_of_thread,
        )
        connection.row_factory = sqlite3.Row
        try:
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute("PRAGMA foreign_keys = ON")
        except sqlite3.Error:
            connection.close()
            raise
        return connection


def which_file(path: Path) -> tuple[int, int] | None:
    """Which file the path leads to now: another one after a restore, or where a workspace was
    deleted and made anew. While a connection has the old one open, no other gets its number."""
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _user_version(connection: sqlite3.Connection) -> int:
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def _script(name: str) -> str:
    return Path(__file__).with_name(name).read_text(encoding="utf-8")  # resources: 10 ms to import


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except sqlite3.IntegrityError:
        raise  # a rule of the schema: the caller knows what it means
    except sqlite3.Error as error:
        raise translate(error) from error


def translate(error: sqlite3.Error) -> RegistryError:
    """The RegistryError that an error of sqlite3 means."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return WorkspaceBusyError(
            f"another process held the workspace for over {BUSY_TIMEOUT_S:.0f} s; try again"
        )
    if code == sqlite3.SQLITE_FULL:
        return StoreFullError("no space is left for the workspace; free some and try again")
    if code in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM, sqlite3.SQLITE_CANTOPEN):
        return WorkspaceDamagedError("the workspace cannot be written; check its permissions")
    if code == sqlite3.SQLITE_IOERR:
        return StoreFullError("the workspace's disk refuses to write; is it full?")
    return WorkspaceDamagedError(f"the workspace's database cannot be used: {error}")
