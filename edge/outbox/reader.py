"""What is in the file, for whoever sends it. Any thread, while another one writes.

SQLite has no checksums: a row in which a bit has fallen over reads like any other. The hub would
refuse the whole batch, and again each time; so such a row is a gap.
"""

from __future__ import annotations

import contextlib
import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path

from edge.clock import DeviceClock
from edge.outbox import database, table
from edge.outbox.expiry import horizons
from edge.outbox.packet import Packet, contents, pack
from edge.outbox.record import MAX_BATCH_RECORDS, check_body

READ_FACTOR = 12
"""Telemetry seldom shrinks more than this: so much more than a batch's bytes is read for one."""


class Reader:
    """Has nothing to tell until ``open``. ``on_damage``: the file cannot be read."""

    def __init__(self, path: Path, clock: DeviceClock, on_damage: Callable[[], None]) -> None:
        self._path = path
        self._clock = clock
        self._on_damage = on_damage
        self._life = ""
        self._lock = threading.RLock()
        self._sql: sqlite3.Connection | None = None

    def open(self, life: str) -> None:
        """Raises sqlite3.Error."""
        with self._lock:
            self._sql = database.connect(self._path)
            self._life = life

    def close(self) -> None:
        """Until it is opened again."""
        with self._lock:
            if self._sql is not None:
                with contextlib.suppress(sqlite3.Error):
                    self._sql.close()
            self._sql = None

    def packet(self, stream: int, after: int, max_bytes: int) -> tuple[Packet | None, bool]:
        """(packet, whether one of its records has expired)."""
        with self._lock:
            if self._sql is None:
                return None, False
            try:
                self._sql.execute("BEGIN")
                try:
                    return self._packet(self._sql, stream, after, max_bytes)
                finally:
                    self._sql.execute("COMMIT")
            except sqlite3.Error as error:
                if database.is_damage(error):
                    self._on_damage()
                return None, False

    def note(self, name: str) -> bytes | None:
        """What was kept under the name."""
        with self._lock, contextlib.suppress(sqlite3.Error):
            return None if self._sql is None else table.note(self._sql, name)
        return None

    def oldest_age_s(self) -> float | None:
        """Of what waits longest."""
        with self._lock, contextlib.suppress(sqlite3.Error):
            if self._sql is None or (found := table.oldest(self._sql)) is None:
                return None
            now = horizons(table.boots(self._sql), self._clock.stamp(), self._clock.hub_time_ms)
            return max(0, now.get(found[0], found[1]) - found[1]) / 1000
        return None

    def _packet(
        self, sql: sqlite3.Connection, stream: int, after: int, max_bytes: int
    ) -> tuple[Packet | None, bool]:
        state = table.streams(sql)[stream]
        after = max(after, state.base - 1)
        until = state.next_seq - 1
        if until <= after:
            return None, False
        limit, plain = MAX_BATCH_RECORDS, max_bytes * READ_FACTOR
        rows = table.rows_after(sql, stream, after, limit, plain)
        gaps = table.gaps_after(sql, stream, after, limit)
        if len(rows) == limit or sum(table.body_bytes(row.body) for row in rows) >= plain:
            until = rows[-1].seq
        if len(gaps) == limit:
            until = min(until, gaps[-1].last)
        rows = [row for row in rows if _is_sound(row)]
        boots = table.boots(sql)
        now = horizons(boots, self._clock.stamp(), self._clock.hub_time_ms)
        if any(row.until_ms is not None and row.until_ms < now.get(row.boot, 0) for row in rows):
            return None, True
        packet = pack(
            contents(rows, gaps, after, until),
            life=self._life,
            stream=stream,
            base=state.base,
            boots={boot.id: boot.boot for boot in boots},
            hub_time_ms=self._clock.hub_time_ms,
            max_bytes=max_bytes,
        )
        return packet, False


def _is_sound(row: tuple[object, ...]) -> bool:
    """Whether the types are those of its columns, and the hub can read it."""
    _, boot, mono_ms, clock_ms, until_ms, source, kind, body = row
    if not (
        all(isinstance(number, int) for number in (boot, mono_ms, clock_ms))
        and isinstance(until_ms, int | None)
        and isinstance(source, str)
        and isinstance(kind, str)
        and isinstance(body, bytes)
    ):
        return False
    try:
        check_body(body)
    except ValueError:
        return False
    return True
