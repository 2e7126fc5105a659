"""Which images are whole: the marks, written last, and when each was used. One file beside the
blobs; a blob without a mark is part of something that was never finished.
"""

from __future__ import annotations

import json
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

SCHEMA = """
CREATE TABLE IF NOT EXISTS images (
    digest TEXT PRIMARY KEY,
    blobs TEXT NOT NULL,         -- JSON: size by digest, with the manifest and the referrers' blobs
    referrers TEXT NOT NULL,     -- JSON: digests of the referrers' manifests
    checked_boot TEXT NOT NULL,  -- the boot in which every blob was last found right
    used REAL NOT NULL           -- counts up with each use
) WITHOUT ROWID;
"""


@dataclass(frozen=True, slots=True)
class Mark:
    """A whole image. ``blobs``: size by digest."""

    digest: str
    blobs: dict[str, int]
    referrers: tuple[str, ...]
    checked_boot: str


class StockDatabase:
    """Threads may share it."""

    def __init__(self, path: Path) -> None:
        self._lock = threading.Lock()
        self._connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        self._connection.execute("PRAGMA journal_mode=WAL")
        self._connection.execute("PRAGMA synchronous=FULL")
        self._connection.execute("PRAGMA busy_timeout=10000")
        self._connection.executescript(SCHEMA)

    def close(self) -> None:
        """Its file."""
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
        with self._lock:
            row = self._connection.execute(
                "SELECT digest, blobs, referrers, checked_boot FROM images WHERE digest = ?",
                (digest,),
            ).fetchone()
        return None if row is None else _mark(row)

    def all(self) -> list[Mark]:
        """The least recently used first."""
        with self._lock:
            rows = self._connection.execute(
                "SELECT digest, blobs, referrers, checked_boot FROM images ORDER BY used"
            ).fetchall()
        return [_mark(row) for row in rows]

    def touch(self, digest: str) -> None:
        """It was used now."""
        with self._writer() as connection:
            connection.execute(
                "UPDATE images SET used = (SELECT max(used) + 1 FROM images) WHERE digest = ?",
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
        with self._lock:
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield self._connection
            except BaseException:
                self._connection.execute("ROLLBACK")
                raise
            self._connection.execute("COMMIT")


def _mark(row: tuple[str, str, str, str]) -> Mark:
    return Mark(row[0], json.loads(row[1]), tuple(json.loads(row[2])), row[3])
