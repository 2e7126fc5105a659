"""What can still be read of a damaged file goes into a new one, under a new life.

The numbers begin anew at 1; between what was read there is a Gap "damaged" for what was not. A new
life is needed: a damaged file may have forgotten which numbers it had given. What the hub had
stored, and had not acknowledged yet, it gets a second time.
"""

from __future__ import annotations

import contextlib
import json
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from edge.outbox import table
from edge.outbox.database import SEQ_MASK, SHIFT, record_id
from edge.outbox.record import STREAMS

CHUNK = 200
COLUMNS = "id, boot, mono_ms, clock_ms, until_ms, size, source, kind, body"
Values = tuple[int, int, int, int, int | None, int, str, str, bytes]


@dataclass(slots=True)
class Found:
    """What was read of a file. ``next_seq``, ``base``: of a stream, where known."""

    rows: list[Values] = field(default_factory=list)
    boots: list[table.Boot] = field(default_factory=list)
    next_seq: dict[int, int] = field(default_factory=dict)
    base: dict[int, int] = field(default_factory=dict)
    notes: dict[str, bytes] = field(default_factory=dict)


def read(path: Path) -> Found:
    """Never raises because of damage."""
    found = Found()
    with contextlib.suppress(sqlite3.Error):
        connection = sqlite3.connect(path, isolation_level=None)
        try:
            _read(connection, found)
        finally:
            connection.close()
    return found


def _read(connection: sqlite3.Connection, found: Found) -> None:
    with contextlib.suppress(sqlite3.Error, TypeError):
        found.boots = table.boots(connection)
    with contextlib.suppress(sqlite3.Error, TypeError, ValueError):
        for stream, state in table.streams(connection).items():
            if 0 <= stream < STREAMS and 0 < state.base <= state.next_seq < 1 << 48:
                found.next_seq[stream], found.base[stream] = state.next_seq, state.base
    with contextlib.suppress(sqlite3.Error, TypeError, ValueError):
        found.notes = {
            str(name): bytes(value)
            for name, value in connection.execute("SELECT name, value FROM notes")
        }
    rows = {row[0]: row for row in _ascending(connection) if _is_sound(row)}
    for row in _descending(connection, after=max(rows, default=-1)):
        if _is_sound(row):
            rows.setdefault(row[0], row)
    found.rows = [rows[id] for id in sorted(rows)]


def _ascending(connection: sqlite3.Connection) -> Iterator[Values]:
    """From the first on, until damage."""
    last = -1
    with contextlib.suppress(sqlite3.Error):
        while True:
            chunk = connection.execute(
                f"SELECT {COLUMNS} FROM records WHERE id > ? ORDER BY id LIMIT ?", (last, CHUNK)
            )
            before = last
            for row in chunk:  # row by row: those before the damage count
                yield row
                last = row[0]
            if last == before:
                return


def _descending(connection: sqlite3.Connection, after: int) -> Iterator[Values]:
    """From the last one back, until damage or what is known."""
    last = record_id(STREAMS, 0)
    with contextlib.suppress(sqlite3.Error):
        while True:
            chunk = connection.execute(
                f"SELECT {COLUMNS} FROM records WHERE id < ? AND id > ? ORDER BY id DESC LIMIT ?",
                (last, after, CHUNK),
            )
            before = last
            for row in chunk:
                yield row
                last = row[0]
            if last == before:
                return


def _is_sound(row: Values) -> bool:
    id, boot, mono, clock, until, size, source, kind, body = row
    return (
        all(isinstance(value, int) for value in (id, boot, mono, clock, size))
        and isinstance(source, str)
        and isinstance(kind, str)
        and isinstance(body, bytes)
        and (until is None or isinstance(until, int))
        and 0 <= id >> SHIFT < STREAMS
        and size >= 0
        and id & SEQ_MASK > 0
        and _is_json(body)
    )


def _is_json(body: bytes) -> bool:
    try:
        json.loads(body)
    except (ValueError, RecursionError):
        return False
    return True


def restore(into: sqlite3.Connection, found: Found) -> int:
    """Write it into a new file, within one transaction; returns how many records were saved."""
    target = table.Table(into)
    boots = {
        boot.id: target.add_boot(boot.boot, boot.last_mono_ms)
        for boot in found.boots
        if isinstance(boot.boot, str) and isinstance(boot.last_mono_ms, int)
    }
    unknown: int | None = None
    saved = 0
    for stream in range(STREAMS):
        rows = [row for row in found.rows if row[0] >> SHIFT == stream]
        next_seq = max(found.next_seq.get(stream, 1), rows[-1][0] + 1 & SEQ_MASK if rows else 1)
        expected = found.base.get(stream, (rows[0][0] & SEQ_MASK) if rows else 1)
        for row in rows:
            seq = row[0] & SEQ_MASK
            if seq < expected:
                continue
            if seq > expected:
                target.skip(stream, seq - expected, "damaged")
            if row[1] not in boots:
                unknown = target.add_boot("lost", 0) if unknown is None else unknown
            target.put(stream, (boots.get(row[1], unknown or 0), *row[2:]))
            expected = seq + 1
            saved += 1
        if next_seq > expected:
            target.skip(stream, next_seq - expected, "damaged")
    for name, value in found.notes.items():
        if isinstance(value, bytes):
            target.note(name, value)
    target.save()
    return saved
