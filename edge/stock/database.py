"""Which images are whole: the marks, written last, and when each was used. One file beside the
blobs; a blob without a mark is part of something that was never finished.

A file that SQLite cannot read is set aside, and ``is_new``: the stock finds its images again.
"""

from __future__ import annotations

import json
import os
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from edge.errors import NoSpaceError, PullError

SCHEMA = """
CREATE TABLE IF NOT EXISTS images (
    digest TEXT PRIMARY KEY,
    blobs TEXT NOT NULL,         -- JSON: size by digest, with the manifest and the referrers' blobs
    referrers TEXT NOT NULL,     -- JSON: digests of the referrers' manifests
    checked_boot TEXT NOT NULL,  -- the boot in which every blob was last found right
    used REAL NOT NULL           -- counts up with each use
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS closed (boot TEXT NOT NULL);  -- the stock was closed, in that boot
"""


@dataclass(frozen=True, slots=True)
class Mark:
    """A whole image. ``blobs``: size by digest."""

    digest: str
    blobs: dict[str, int]
    referrers: tuple[str, ...]
    checked_boot: str


class StockDatabase:
    """Threads may share it. Errors: PullError, NoSpaceError for a full disk."""

    def __init__(self, path: Path) -> None:
        self._lock = threading.Lock()
        self.is_new = not path.exists()
        with _said():
            try:
                self._connection = _opened(path)
            except sqlite3.OperationalError:  # it is fine, the disk is not
                raise
            except sqlite3.DatabaseError:
                _set_aside(path)
                self.is_new = True
                self._connection = _opened(path)

    def begin(self, boot: str) -> None:
        """What was right when the stock was closed is right in this boot too: nothing was under
        way when the machine went off."""
        with self._lock, _said():
            found = self._connection.execute("SELECT boot FROM closed").fetchall()
        if not found:
            return
        with self._writer() as connection:
            for (closed,) in found:
                connection.execute(
                    "UPDATE images SET checked_boot = ? WHERE checked_boot = ?", (boot, closed)
                )
            connection.execute("DELETE FROM closed")

    def close(self, boot: str | None = None) -> None:
        """Its file; with ``boot``, noting that nothing is under way. Idempotent."""
        with suppress(PullError, sqlite3.ProgrammingError):  # then it is hashed again: no more
            if boot is not None:
                with self._writer() as connection:
                    connection.execute("DELETE FROM closed")
                    connection.execute("INSERT INTO closed VALUES (?)", (boot,))
        with self._lock:
            self._connection.close()

    def put(self, mark: Mark) -> None:
        """Durable once it returns."""
        with self._writer() as connection:
            connection.execute(
                "INSERT INTO images VALUES (?, ?, ?, ?, (SELECT coalesce(max(used), 0) + 1 FROM"
                " images)) ON CONFLICT (digest) DO UPDATE SET blobs = excluded.blobs, referrers ="
                " excluded.referrers, checked_boot = excluded.checked_boot, used = excluded.used",
                (
                    mark.digest,
                    json.dumps(mark.blobs),
                    json.dumps(mark.referrers),
                    mark.checked_boot,
                ),
            )

    def get(self, digest: str) -> Mark | None:
        """None: it is not whole."""
        with self._lock, _said():
            row = self._connection.execute(
                "SELECT digest, blobs, referrers, checked_boot FROM images WHERE digest = ?",
                (digest,),
            ).fetchone()
        return None if row is None else _mark(row)

    def all(self) -> list[Mark]:
        """The least recently used first."""
        with self._lock, _said():
            rows = self._connection.execute(
                "SELECT digest, blobs, referrers, checked_boot FROM images ORDER BY used"
            ).fetchall()
        return [_mark(row) for row in rows]

    def touch(self, digest: str) -> None:
        """It was used now. Writes nothing for the one that was used last."""
        with self._writer() as connection:
            connection.execute(
                "UPDATE images SET used = (SELECT max(used) + 1 FROM images)"
                " WHERE digest = ? AND used < (SELECT max(used) FROM images)",
                (digest,),
            )

    def checked(self, digest: str, boot: str) -> None:
        """Every blob of it was found right in this boot."""
        with self._writer() as connection:
            connection.execute(
                "UPDATE images SET checked_boot = ? WHERE digest = ?", (boot, digest)
            )

    def remove(self, digests: Sequence[str]) -> None:
        """They are not whole any more."""
        with self._writer() as connection:
            connection.executemany("DELETE FROM images WHERE digest = ?", [(d,) for d in digests])

    @contextmanager
    def _writer(self) -> Iterator[sqlite3.Connection]:
        with self._lock, _said():
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield self._connection
                self._connection.execute("COMMIT")
            except BaseException:
                with suppress(sqlite3.Error):  # a full disk has rolled it back already
                    self._connection.execute("ROLLBACK")
                raise


@contextmanager
def _said() -> Iterator[None]:
    try:
        yield
    except sqlite3.ProgrammingError:  # closed: our own mistake
        raise
    except sqlite3.Error as error:
        if "full" in str(error):
            raise NoSpaceError(
                "no space is left on the device; free some", is_temporary=True
            ) from error
        raise PullError(f"the list of images cannot be used: {error}", is_temporary=True) from error


def _opened(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    try:
        connection.execute("PRAGMA busy_timeout=10000")
        connection.execute("PRAGMA locking_mode=EXCLUSIVE")  # no -shm, which a full disk refuses
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")
        found = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
        if found != "ok":
            raise sqlite3.DatabaseError(found)
        connection.executescript(SCHEMA)
    except BaseException:
        connection.close()
        raise
    return connection


def _set_aside(path: Path) -> None:
    os.replace(path, path.with_suffix(".damaged"))
    for ending in ("-wal", "-shm"):
        path.with_name(path.name + ending).unlink(missing_ok=True)


def _mark(row: tuple[str, str, str, str]) -> Mark:
    return Mark(row[0], json.loads(row[1]), tuple(json.loads(row[2])), row[3])
