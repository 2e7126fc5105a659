"""The statements on an outbox's file. Its caller begins and ends transactions; after one that
failed it calls ``reload``, as the counters here run ahead.

Every number of a stream from ``base`` to ``next_seq`` - 1 has a record or is in a gap.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import NamedTuple, cast

from edge.clock import Stamp
from edge.messages.telemetry import Gap, GapReason
from edge.outbox.database import SEQ_MASK, SHIFT, record_id
from edge.outbox.record import STREAMS, NewRecord, StreamLimits

TRIM_ROWS = 1000


class Row(NamedTuple):
    """A record as it is stored. ``until_ms``: the monotonic time of its boot when it expires."""

    id: int
    boot: int
    mono_ms: int
    clock_ms: int
    until_ms: int | None
    source: str
    kind: str
    body: bytes

    @property
    def seq(self) -> int:
        """Its number in the stream."""
        return self.id & SEQ_MASK


@dataclass(frozen=True, slots=True)
class StreamState:
    """``base``: the lowest number that is not acknowledged."""

    next_seq: int
    base: int
    records: int
    size_bytes: int
    dropped: int

    def excess(self, limits: StreamLimits) -> bool:
        """Whether it is over its caps."""
        return self.records > limits.max_records or self.size_bytes > limits.max_bytes


@dataclass(frozen=True, slots=True)
class Boot:
    """A boot that records came from; ``last_mono_ms``: it lasted at least so long."""

    id: int
    boot: str
    last_mono_ms: int


def runs(numbers: Iterable[int]) -> list[tuple[int, int]]:
    """Ascending numbers as ranges (first, last)."""
    found = list(numbers)
    if not found:
        return []
    edges = [i + 1 for i, (a, b) in enumerate(pairwise(found)) if b != a + 1]
    return [
        (found[start], found[end - 1])
        for start, end in zip([0, *edges], [*edges, len(found)], strict=True)
    ]


class Table:
    """Of the connection that writes."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._sql = connection
        self._boots: dict[str, int] = {}
        self.streams: dict[int, StreamState] = {}
        self.reload()

    def reload(self) -> None:
        """What is in the file counts."""
        self._boots = {boot.boot: boot.id for boot in boots(self._sql)}
        self.streams = streams(self._sql)

    def append(
        self, records: Sequence[tuple[int, NewRecord]], stamp: Stamp, clock_ms: int
    ) -> list[int]:
        """Store records of one moment, each with its stream; returns their numbers."""
        boot = self._boot(stamp)
        next_seq = {stream: state.next_seq for stream, state in self.streams.items()}
        counts, sizes = dict.fromkeys(next_seq, 0), dict.fromkeys(next_seq, 0)
        numbers, rows = [], []
        for stream, new in records:
            seq, size = next_seq[stream], new.size_bytes
            until = None if new.ttl_s is None else stamp.mono_ms + round(new.ttl_s * 1000)
            rows.append(
                (
                    *(record_id(stream, seq), boot, stamp.mono_ms, clock_ms, until, size),
                    *(new.source, new.kind, new.body),
                )
            )
            numbers.append(seq)
            next_seq[stream] = seq + 1
            counts[stream] += 1
            sizes[stream] += size
        self._sql.executemany("INSERT INTO records VALUES (?,?,?,?,?,?,?,?,?)", rows)
        self.streams = {
            stream: replace(
                state,
                next_seq=next_seq[stream],
                records=state.records + counts[stream],
                size_bytes=state.size_bytes + sizes[stream],
            )
            for stream, state in self.streams.items()
        }
        return numbers

    def put(
        self,
        stream: int,
        values: tuple[int, int, int, int | None, int, str, str, bytes],
    ) -> None:
        """Store one record as it was in another file: boot, mono_ms, clock_ms, until_ms, size,
        source, kind, body."""
        state = self.streams[stream]
        self._sql.execute(
            "INSERT INTO records VALUES (?,?,?,?,?,?,?,?,?)",
            (record_id(stream, state.next_seq), *values),
        )
        self.streams[stream] = replace(
            state,
            next_seq=state.next_seq + 1,
            records=state.records + 1,
            size_bytes=state.size_bytes + values[4],
        )

    def skip(self, stream: int, count: int, reason: GapReason) -> None:
        """``count`` records that were not stored take their numbers, as a gap."""
        state = self.streams[stream]
        self._gap(stream, state.next_seq, state.next_seq + count - 1, reason)
        self.streams[stream] = replace(
            state, next_seq=state.next_seq + count, dropped=state.dropped + count
        )

    def trim(self, stream: int, limits: StreamLimits) -> None:
        """The oldest records go until the stream is within its caps."""
        while (state := self.streams[stream]).excess(limits):
            rows = self._sql.execute(
                "SELECT id, size FROM records WHERE id BETWEEN ? AND ? ORDER BY id LIMIT ?",
                (*_span(stream), TRIM_ROWS),
            ).fetchall()
            over_records = state.records - limits.max_records
            over_bytes = state.size_bytes - limits.max_bytes
            count = freed = 0
            while count < len(rows) and (count < over_records or freed < over_bytes):
                freed += rows[count][1]
                count += 1
            if not count:  # the counters were wrong; what is there counts
                self._recount(stream)
                return
            self._drop(stream, [row[0] for row in rows[:count]], freed, "full")

    def expire(self, horizons: Mapping[int, int]) -> int:
        """Drop what is worthless by now. ``horizons``: of each boot's row, the earliest that it can
        be now, in its monotonic time."""
        dropped = 0
        for boot, horizon in horizons.items():
            rows = self._sql.execute(
                "SELECT id, size FROM records WHERE boot = ? AND until_ms < ? ORDER BY id",
                (boot, horizon),
            ).fetchall()
            for stream in range(STREAMS):
                mine = [row for row in rows if row[0] >> SHIFT == stream]
                if mine:
                    ids, size = [row[0] for row in mine], sum(row[1] for row in mine)
                    self._drop(stream, ids, size, "expired")
            dropped += len(rows)
        return dropped

    def acknowledge(self, stream: int, seq: int) -> None:
        """Everything up to ``seq`` is durable elsewhere. Nothing when it was said before."""
        state = self.streams[stream]
        seq = min(seq, state.next_seq - 1)
        if seq < state.base:
            return
        span = (record_id(stream, state.base), record_id(stream, seq))
        count, size = self._sql.execute(
            "SELECT count(*), total(size) FROM records WHERE id BETWEEN ? AND ?", span
        ).fetchone()
        self._sql.execute("DELETE FROM records WHERE id BETWEEN ? AND ?", span)
        self._cut_gaps(stream, seq)
        self.streams[stream] = replace(
            state,
            base=seq + 1,
            records=state.records - count,
            size_bytes=state.size_bytes - int(size),
        )

    def note(self, name: str, value: bytes) -> None:
        """Keep something small."""
        self._sql.execute("INSERT OR REPLACE INTO notes VALUES (?, ?)", (name, value))

    def save(self, stamp: Stamp | None = None) -> None:
        """Write the counters; the last step of a transaction."""
        self._sql.executemany(
            "UPDATE streams SET next_seq=?, base=?, records=?, bytes=?, dropped=? WHERE stream=?",
            [
                (state.next_seq, state.base, state.records, state.size_bytes, state.dropped, stream)
                for stream, state in self.streams.items()
            ],
        )
        if stamp is not None:
            self._sql.execute(
                "UPDATE boots SET last_mono_ms = max(last_mono_ms, ?) WHERE id = ?",
                (stamp.mono_ms, self._boot(stamp)),
            )

    def forget_boots(self, current: str) -> None:
        """Boots that no record is of."""
        self._sql.execute(
            "DELETE FROM boots WHERE boot != ? AND id NOT IN (SELECT boot FROM records)", (current,)
        )
        self._boots = {boot.boot: boot.id for boot in boots(self._sql)}

    def add_boot(self, boot: str, last_mono_ms: int) -> int:
        """The row of a boot."""
        if boot not in self._boots:
            cursor = self._sql.execute(
                "INSERT INTO boots (boot, last_mono_ms) VALUES (?, ?)", (boot, last_mono_ms)
            )
            self._boots[boot] = cast(int, cursor.lastrowid)
        return self._boots[boot]

    def _boot(self, stamp: Stamp) -> int:
        return self.add_boot(stamp.boot, stamp.mono_ms)

    def _drop(self, stream: int, ids: Sequence[int], size_bytes: int, reason: GapReason) -> None:
        self._sql.executemany("DELETE FROM records WHERE id = ?", [(id,) for id in ids])
        for first, last in runs(id & SEQ_MASK for id in ids):
            self._gap(stream, first, last, reason)
        state = self.streams[stream]
        self.streams[stream] = replace(
            state,
            records=state.records - len(ids),
            size_bytes=state.size_bytes - size_bytes,
            dropped=state.dropped + len(ids),
        )

    def _gap(self, stream: int, first: int, last: int, reason: GapReason) -> None:
        """A range that touches none; it grows together with neighbours of the same reason."""
        before = self._sql.execute(
            "SELECT first, last, reason FROM gaps WHERE stream = ? AND first < ?"
            " ORDER BY first DESC LIMIT 1",
            (stream, first),
        ).fetchone()
        after = self._sql.execute(
            "SELECT first, last, reason FROM gaps WHERE stream = ? AND first = ?",
            (stream, last + 1),
        ).fetchone()
        if before is not None and before[1] == first - 1 and before[2] == reason:
            first = before[0]
        if after is not None and after[2] == reason:
            self._sql.execute("DELETE FROM gaps WHERE stream = ? AND first = ?", (stream, after[0]))
            last = after[1]
        self._sql.execute(
            "INSERT OR REPLACE INTO gaps VALUES (?, ?, ?, ?)", (stream, first, last, reason)
        )

    def _cut_gaps(self, stream: int, seq: int) -> None:
        spanning = self._sql.execute(
            "SELECT last, reason FROM gaps WHERE stream = ? AND first <= ? AND last > ?",
            (stream, seq, seq),
        ).fetchone()
        self._sql.execute("DELETE FROM gaps WHERE stream = ? AND first <= ?", (stream, seq))
        if spanning is not None:
            self._sql.execute("INSERT INTO gaps VALUES (?, ?, ?, ?)", (stream, seq + 1, *spanning))

    def _recount(self, stream: int) -> None:
        count, size = self._sql.execute(
            "SELECT count(*), total(size) FROM records WHERE id BETWEEN ? AND ?", _span(stream)
        ).fetchone()
        self.streams[stream] = replace(self.streams[stream], records=count, size_bytes=int(size))


def streams(connection: sqlite3.Connection) -> dict[int, StreamState]:
    """All of them, as stored."""
    rows = connection.execute("SELECT stream, next_seq, base, records, bytes, dropped FROM streams")
    return {stream: StreamState(*rest) for stream, *rest in rows}


def boots(connection: sqlite3.Connection) -> list[Boot]:
    """In their order."""
    rows = connection.execute("SELECT id, boot, last_mono_ms FROM boots ORDER BY id")
    return [Boot(*row) for row in rows]


def rows_after(
    connection: sqlite3.Connection, stream: int, after: int, limit: int, max_bytes: int
) -> list[Row]:
    """Records of a stream, in order: at most ``limit``, and no more than make ``max_bytes`` of
    bodies, but one."""
    cursor = connection.execute(
        "SELECT id, boot, mono_ms, clock_ms, until_ms, source, kind, body FROM records"
        " WHERE id > ? AND id <= ? ORDER BY id LIMIT ?",
        (record_id(stream, after), record_id(stream, SEQ_MASK), limit),
    )
    found: list[Row] = []
    size = 0
    for values in cursor:
        found.append(Row(*values))
        size += body_bytes(found[-1].body)
        if size >= max_bytes:
            break
    cursor.close()
    return found


def body_bytes(body: object) -> int:
    """Its size; damage may have made it something else than bytes."""
    return len(body) if isinstance(body, bytes) else 0


def gaps_after(connection: sqlite3.Connection, stream: int, after: int, limit: int) -> list[Gap]:
    """Gaps that end after a number, in order."""
    found = connection.execute(
        "SELECT first, last, reason FROM gaps WHERE stream = ? AND last > ? ORDER BY first LIMIT ?",
        (stream, after, limit),
    )
    return [Gap(*row) for row in found]


def oldest(connection: sqlite3.Connection) -> tuple[int, int] | None:
    """(boot's row, monotonic ms) of the record that waits longest, over all the streams."""
    firsts = [
        found
        for stream in range(STREAMS)
        if (
            found := connection.execute(
                "SELECT boot, mono_ms FROM records WHERE id BETWEEN ? AND ? ORDER BY id LIMIT 1",
                _span(stream),
            ).fetchone()
        )
    ]
    return min(firsts, default=None)


def note(connection: sqlite3.Connection, name: str) -> bytes | None:
    """What ``Table.note`` kept."""
    found = connection.execute("SELECT value FROM notes WHERE name = ?", (name,)).fetchone()
    return None if found is None else bytes(found[0])


def _span(stream: int) -> tuple[int, int]:
    return record_id(stream, 0), record_id(stream, SEQ_MASK)
