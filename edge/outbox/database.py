"""The outbox's file: its tables, how it is opened, checked after a power cut, and what becomes of a
damaged one.

    file(one row)       life, and whether it was closed in good order, in which boot
    boots(id, boot)     boots that records come from; last_mono_ms: the latest time seen in one
    streams(stream)     next_seq: of the next record; base: the lowest that is not acknowledged
    records(id)         id = stream << 56 | seq, so that one tree holds all in their order
    gaps(stream, first) ranges of numbers whose records are not there any more
    notes(name)         small things that others keep here (the budget)
"""

from __future__ import annotations

import contextlib
import logging
import os
import secrets
import sqlite3
from dataclasses import dataclass
from pathlib import Path

from edge.outbox.record import STREAMS

FORMAT = 1
SHIFT = 56
SEQ_MASK = (1 << SHIFT) - 1
SCHEMA = f"""
CREATE TABLE IF NOT EXISTS file (
    one INTEGER PRIMARY KEY CHECK (one = 1), format INTEGER NOT NULL, life TEXT NOT NULL,
    boot TEXT NOT NULL DEFAULT '', is_clean INTEGER NOT NULL DEFAULT 1);
CREATE TABLE IF NOT EXISTS boots (
    id INTEGER PRIMARY KEY, boot TEXT NOT NULL UNIQUE, last_mono_ms INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS streams (
    stream INTEGER PRIMARY KEY, next_seq INTEGER NOT NULL DEFAULT 1,
    base INTEGER NOT NULL DEFAULT 1, records INTEGER NOT NULL DEFAULT 0,
    bytes INTEGER NOT NULL DEFAULT 0, dropped INTEGER NOT NULL DEFAULT 0);
CREATE TABLE IF NOT EXISTS records (
    id INTEGER PRIMARY KEY, boot INTEGER NOT NULL, mono_ms INTEGER NOT NULL,
    clock_ms INTEGER NOT NULL, until_ms INTEGER, size INTEGER NOT NULL,
    source TEXT NOT NULL, kind TEXT NOT NULL, body BLOB NOT NULL);
CREATE INDEX IF NOT EXISTS records_until ON records (boot, until_ms) WHERE until_ms IS NOT NULL;
CREATE TABLE IF NOT EXISTS gaps (
    stream INTEGER NOT NULL, first INTEGER NOT NULL, last INTEGER NOT NULL, reason TEXT NOT NULL,
    PRIMARY KEY (stream, first)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS notes (name TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;
INSERT OR IGNORE INTO streams (stream) VALUES {", ".join(f"({i})" for i in range(STREAMS))};
"""
log = logging.getLogger(__name__)


class DamagedError(Exception):
    """The file is not what SQLite wrote; stays inside this package."""


@dataclass(frozen=True, slots=True)
class Opened:
    """``is_new``: an empty file was made."""

    connection: sqlite3.Connection
    life: str
    is_new: bool


def record_id(stream: int, seq: int) -> int:
    """The key of a record."""
    return stream << SHIFT | seq


def text_of(data: bytes) -> str:
    """A word in which a bit fell over must not make its row, and all behind it, unreadable."""
    return data.decode(errors="replace")


def connect(path: Path, synchronous: str = "FULL") -> sqlite3.Connection:
    """For any thread, one at a time. Transactions are begun by hand."""
    connection = sqlite3.connect(path, timeout=30, isolation_level=None, check_same_thread=False)
    connection.text_factory = text_of
    try:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute(f"PRAGMA synchronous={synchronous}")
        connection.execute("PRAGMA cache_size=-1024")
        connection.execute("PRAGMA wal_autocheckpoint=1000")
        connection.execute("PRAGMA journal_size_limit=4194304")
    except sqlite3.Error:
        connection.close()
        raise
    return connection


def open_database(path: Path, boot: str, synchronous: str = "FULL") -> Opened:
    """Raises DamagedError for a file that is damaged, sqlite3.OperationalError when the disk is
    full or the file may not be written."""
    try:
        connection = connect(path, synchronous)
    except sqlite3.DatabaseError as error:
        raise _translated(error) from error
    try:
        return _prepared(connection, boot)
    except sqlite3.DatabaseError as error:
        connection.close()
        raise _translated(error) from error
    except BaseException:
        connection.close()
        raise


def is_damage(error: sqlite3.Error) -> bool:
    """Whether the file is to be given up, rather than tried again."""
    code = getattr(error, "sqlite_errorcode", None)
    return code is not None and code & 0xFF in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


def _translated(error: sqlite3.DatabaseError) -> Exception:
    return DamagedError(str(error)) if is_damage(error) else error


def _prepared(connection: sqlite3.Connection, boot: str) -> Opened:
    tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master")}
    is_new = "file" not in tables
    if not is_new:
        _check(connection, boot)
    connection.execute("BEGIN IMMEDIATE")
    for statement in SCHEMA.split(";"):
        connection.execute(statement)
    connection.execute(
        "INSERT OR IGNORE INTO file (one, format, life) VALUES (1, ?, ?)",
        (FORMAT, secrets.token_hex(8)),
    )
    connection.execute("UPDATE file SET boot = ?, is_clean = 0", (boot,))
    (life,) = connection.execute("SELECT life FROM file").fetchone()
    connection.execute("COMMIT")
    return Opened(connection, life, is_new)


def _check(connection: sqlite3.Connection, boot: str) -> None:
    """All of it is read when the power may have been cut; a killed process damages nothing."""
    found = connection.execute("SELECT format, boot, is_clean FROM file").fetchone()
    if found is None:
        raise DamagedError("its first table is empty")
    if found[0] != FORMAT:
        raise DamagedError(f"it has format {found[0]}; this program knows {FORMAT}")
    if not found[2] and found[1] != boot:
        verdict = connection.execute("PRAGMA quick_check(1)").fetchone()
        if verdict != ("ok",):
            raise DamagedError(str(verdict[0] if verdict else "unreadable"))


def aside_path(path: Path) -> Path:
    """Where ``set_aside`` puts it."""
    return path.with_name(path.name + ".damaged")


def set_aside(path: Path) -> Path:
    """Rename a damaged file, with its journal; one that was set aside before is removed."""
    aside = aside_path(path)
    for ending in ("-wal", "-shm", ""):
        source = Path(f"{path}{ending}")
        target = Path(f"{aside}{ending}")
        target.unlink(missing_ok=True)
        with contextlib.suppress(FileNotFoundError):
            os.replace(source, target)
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
    return aside
