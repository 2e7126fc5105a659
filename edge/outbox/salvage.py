"""What can still be read of a damaged file goes into a new one, under a new life.

The numbers begin anew at 1; between what was read there is a Gap "damaged" for what was not. A new
life is needed: a damaged file may have forgotten which numbers it had given. What the hub had
stored, and had not acknowledged yet, it gets a second time.

Only the numbers of the rows are held in memory, as a device may have less of that than the file
has.
"""

from __future__ import annotations

import contextlib
import sqlite3
from array import array
from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from edge.outbox import table
from edge.outbox.database import SEQ_MASK, SHIFT, record_id, text_of
from edge.outbox.record import STREAMS, check_body

CHUNK = 200
COLUMNS = "id, boot, mono_ms, clock_ms, until_ms, size, source, kind, body"
Values = tuple[int, int, int, int, int | None, int, str, str, bytes]


@dataclass(slots=True)
class Found:
    """What was read of a file. ``ids``: of its rows, ascending. ``next_seq``, ``base``: of a
    stream, where known."""

    ids: array[int] = field(default_factory=lambda: array("q"))
    boots: list[table.Boot] = field(default_factory=list)
    next_seq: dict[int, int] = field(default_factory=dict)
    base: dict[int, int] = field(default_factory=dict)
    notes: dict[str, bytes] = field(default_factory=dict)


def restore(into: sqlite3.Connection, path: Path) -> int:
    """Write what ``path`` tells into a new file, within one transaction; returns how many records
    were saved. Never raises because of damage; sqlite3.Error: the new file cannot be written."""
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as source:
        source.text_factory = text_of
        return _write(into, source, look(source))


def look(source: sqlite3.Connection) -> Found:
    """What a file still tells."""
    found = Found()
    with contextlib.suppress(sqlite3.Error, TypeError):
        found.boots = table.boots(source)
    with contextlib.suppress(sqlite3.Error, TypeError, ValueError):
        for stream, state in table.streams(source).items():
            if 0 <= stream < STREAMS and 0 < state.base <= state.next_seq < 1 << 48:
                found.next_seq[stream], found.base[stream] = state.next_seq, state.base
    with contextlib.suppress(sqlite3.Error, TypeError, ValueError):
        found.notes = {
            str(name): bytes(value)
            for name, value in source.execute("SELECT name, value FROM notes")
        }
    found.ids.extend(row[0] for row in _ascending(source) if _is_sound(row))
    last = found.ids[-1] if found.ids else -1
    behind = array("q", (row[0] for row in _descending(source, after=last) if _is_sound(row)))
    behind.reverse()
    found.ids.extend(behind)
    return found


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
        and _is_body(body)
    )


def _is_body(body: bytes) -> bool:
    try:
        check_body(body)
    except ValueError:
        return False
    return True


def _row(source: sqlite3.Connection, id: int) -> Values | None:
    """As it was looked at; None: it cannot be read any more."""
    with contextlib.suppress(sqlite3.Error):
        found = source.execute(f"SELECT {COLUMNS} FROM records WHERE id = ?", (id,)).fetchone()
        if found is not None and _is_sound(found):
            return found  # type: ignore[no-any-return]
    return None


def _write(into: sqlite3.Connection, source: sqlite3.Connection, found: Found) -> int:
    target = table.Table(into)
    boots = {
        boot.id: target.add_boot(boot.boot, boot.last_mono_ms)
        for boot in found.boots
        if isinstance(boot.boot, str) and isinstance(boot.last_mono_ms, int)
    }
    unknown: int | None = None
    saved = 0
    for stream in range(STREAMS):
        begin = bisect_left(found.ids, record_id(stream, 0))
        end = bisect_left(found.ids, record_id(stream + 1, 0))
        first, last = (
            (found.ids[begin] & SEQ_MASK, found.ids[end - 1] & SEQ_MASK) if begin < end else (1, 0)
        )
        next_seq = max(found.next_seq.get(stream, 1), last + 1)
        expected = found.base.get(stream, first)
        for id in found.ids[begin:end]:
            seq = id & SEQ_MASK
            row = None if seq < expected else _row(source, id)
            if row is None:
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
        target.note(name, value)
    target.save()
    return saved
