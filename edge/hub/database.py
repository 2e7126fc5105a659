"""The hub's SQLite database: how it is opened, read, written and brought up to date.

Hub and command line have it open at the same time, on one machine. Who changes what devices shall
do says so in ``changed``, which the running hub looks at a few times a second.

    database = Database(path)
    database.migrate()
    with database.writer() as connection:      # one BEGIN IMMEDIATE transaction, durable at its end
        connection.execute(...)
        mark_desired(connection, ["camera-1"])
    with database.reader() as connection:      # one consistent view
        ...
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Literal

from edge.errors import HubError

BUSY_TIMEOUT_S = 30.0
KEPT_JOURNAL_BYTES = 64 * 1024 * 1024
"""After a burst the journal shrinks to this."""
MIGRATIONS = ("schema.sql", "rollouts.sql")
"""Scripts in order; ``PRAGMA user_version`` counts those that were applied."""
Changed = Literal["devices", "desired", "commands"]


class Database:
    """One database file. Every thread may use it: each block has a connection of its own."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._writing = threading.Lock()  # SQLite's own wait polls; threads need not

    @contextmanager
    def reader(self) -> Iterator[sqlite3.Connection]:
        """One consistent view. Raises HubError."""
        with _translated(), closing(self.connect()) as connection:
            connection.execute("BEGIN")
            yield connection

    @contextmanager
    def writer(self, held: sqlite3.Connection | None = None) -> Iterator[sqlite3.Connection]:
        """One transaction: durable at the end, undone when the block raises. ``held``: a connection
        of ``connect`` to use, of a thread that writes often. Not to be nested. Raises HubError."""
        if not self._writing.acquire(timeout=BUSY_TIMEOUT_S):
            raise HubError(_BUSY)
        try:
            with _translated():
                if held is not None:
                    with _transaction(held):
                        yield held
                else:
                    with closing(self.connect()) as connection, _transaction(connection):
                        yield connection
        finally:
            self._writing.release()

    def connect(self) -> sqlite3.Connection:
        """A connection that the caller closes. Raises HubError."""
        with _translated():
            connection = sqlite3.connect(
                self.path, timeout=BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False
            )
            connection.row_factory = sqlite3.Row
            try:
                connection.execute("PRAGMA synchronous = FULL")
                connection.execute("PRAGMA foreign_keys = ON")
                connection.execute(f"PRAGMA journal_size_limit = {KEPT_JOURNAL_BYTES}")
            except BaseException:
                connection.close()
                raise
            return connection

    def migrate(self) -> None:
        """Create the tables or bring them up to date; safe when several processes start at once.
        Raises HubError, also for a database of a newer program."""
        with _translated(), closing(self.connect()) as connection:
            connection.execute("PRAGMA journal_mode = WAL")
        with self.writer() as connection:
            done = int(connection.execute("PRAGMA user_version").fetchone()[0])
            if done > len(MIGRATIONS):
                raise HubError("this hub's database was written by a newer Inferry; update Inferry")
            for name in MIGRATIONS[done:]:
                script = Path(__file__).with_name(name).read_text(encoding="utf-8")
                for statement in script.split(";\n"):
                    connection.execute(statement)
            connection.execute(f"PRAGMA user_version = {len(MIGRATIONS)}")


def mark_changed(connection: sqlite3.Connection, what: Changed) -> int:
    """Tell the running hub, once this transaction is committed. Returns the new count."""
    row = connection.execute(
        "UPDATE changed SET count = count + 1 WHERE name = ? RETURNING count", (what,)
    ).fetchone()
    return int(row[0])


def mark_desired(connection: sqlite3.Connection, devices: Iterable[str] | None = None) -> None:
    """The desired state of these devices (None: of all) may have changed: the hub asks for it anew
    and publishes it."""
    mark = mark_changed(connection, "desired")
    if devices is None:
        connection.execute("UPDATE devices SET desired_mark = ?", (mark,))
    else:
        connection.executemany(
            "UPDATE devices SET desired_mark = ? WHERE name = ?", ((mark, name) for name in devices)
        )


def changes(connection: sqlite3.Connection) -> dict[str, int]:
    """How often each thing was marked as changed."""
    return {str(row[0]): int(row[1]) for row in connection.execute("SELECT * FROM changed")}


@contextmanager
def _transaction(connection: sqlite3.Connection) -> Iterator[None]:
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:  # a full disk ends it by itself
            connection.execute("ROLLBACK")
        raise


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except sqlite3.IntegrityError:
        raise  # a rule of the schema: the caller knows what it means
    except sqlite3.Error as error:
        raise HubError(_explain(error)) from error


_BUSY = f"another process held the hub's database for over {BUSY_TIMEOUT_S:.0f} s; try again"


def _explain(error: sqlite3.Error) -> str:
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return _BUSY
    if code in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR):
        return "the disk of the hub's database refuses to write; free some space and try again"
    if code in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM, sqlite3.SQLITE_CANTOPEN):
        return "the hub's database cannot be opened or written; check its folder's permissions"
    return f"the hub's database cannot be used: {error}"
