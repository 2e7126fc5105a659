"""Batches of many devices into the database: one transaction for all that came while the last one
was on its way to the disk, and acknowledgements only after it.

A batch is stored as it came, deflated, with the range of its numbers and times beside it: what is
asked for is inflated, which is seldom, and what comes in is not packed again, which is always.
"""

from __future__ import annotations

import sqlite3
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

from edge.hub.batch import RefusedError, decide
from edge.messages.telemetry import Batch, Record

MAX_GAPS = 100_000
"""Of one device that are kept; what is lost beyond is only counted."""
MAX_STREAMS = 1_000
"""Of one device: it begins new ones when its outbox is lost."""
MAX_LABELS = 32
MAX_LABELS_LENGTH = 2_000
LATEST_MS = 2**62
MAX_TOTAL = 2**61
"""A device may say that it lost any number: the sum must stay an integer of SQLite."""
Acks = dict[tuple[str, str], dict[int, int]]
"""(device, life) -> stream -> number."""


@dataclass(frozen=True, slots=True)
class Heard:
    """A batch that was read, of an enrolled device."""

    device: str
    payload: bytes
    batch: Batch


@dataclass(slots=True)
class Stored:
    """What a transaction did, once it is committed. ``refused``: reason, device and words."""

    acks: Acks = field(default_factory=lambda: defaultdict(dict))
    records: int = 0
    repeated: int = 0
    size_bytes: int = 0
    lost: int = 0
    holes: int = 0
    refused: list[tuple[str, str, str]] = field(default_factory=list)


def store(connection: sqlite3.Connection, heard: Sequence[Heard], now_ms: int) -> Stored:
    """Within a transaction of the caller's. A batch that cannot be is left out; the others are
    stored."""
    stored = Stored()
    for one in heard:
        try:
            _store(connection, one, now_ms, stored)
        except RefusedError as error:
            stored.refused.append((error.reason, one.device, str(error)))
    connection.executemany(
        f"UPDATE totals SET value = min(value + ?, {MAX_TOTAL}) WHERE name = ?",
        [
            (stored.records, "records"),
            (stored.size_bytes, "size_bytes"),
            (stored.lost, "lost"),
        ],
    )
    return stored


def _store(connection: sqlite3.Connection, one: Heard, now_ms: int, stored: Stored) -> None:
    batch = one.batch
    id, high = _stream(connection, one.device, batch)
    decision = decide(high, batch)
    if decision.high > high:
        connection.execute("UPDATE streams SET high = ? WHERE id = ?", (decision.high, id))
    if decision.first is not None and decision.last is not None:
        new = batch.records[decision.repeated :]
        times = [time_of(record, now_ms) for record in new]
        connection.execute(
            "INSERT INTO segments (stream, first, last, records, from_ms, to_ms, received_ms,"
            " labels, payload) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (id, decision.first, decision.last, len(new), min(times), max(times), now_ms,
             labels_of(new), one.payload),
        )  # fmt: skip
        stored.records += len(new)
        stored.size_bytes += len(one.payload)
    if decision.gaps:
        room = MAX_GAPS - _gaps_of(connection, one.device)
        connection.executemany(
            "INSERT INTO gaps (stream, first, last, reason, received_ms) VALUES (?, ?, ?, ?, ?)",
            [(id, gap.first, gap.last, gap.reason, now_ms) for gap in decision.gaps[:room]],
        )
        stored.lost += sum(gap.last - gap.first + 1 for gap in decision.gaps)
        stored.lost = min(stored.lost, MAX_TOTAL)
    stored.repeated += decision.repeated
    stored.holes += decision.is_hole
    stored.acks[one.device, batch.life][batch.stream] = decision.high


def _stream(connection: sqlite3.Connection, device: str, batch: Batch) -> tuple[int, int]:
    key = (device, batch.life, batch.stream)
    row = connection.execute(
        "SELECT id, high FROM streams WHERE device = ? AND life = ? AND stream = ?", key
    ).fetchone()
    if row is not None:
        return int(row[0]), int(row[1])
    count = connection.execute(
        "SELECT count(*) FROM streams WHERE device = ?", (device,)
    ).fetchone()[0]
    if count >= MAX_STREAMS:
        raise RefusedError(
            "streams", f"it has begun over {MAX_STREAMS} streams; is its disk lost at each start?"
        )
    new = connection.execute(
        "INSERT INTO streams (device, life, stream, high) VALUES (?, ?, ?, 0)", key
    )
    assert new.lastrowid is not None
    return new.lastrowid, 0


def _gaps_of(connection: sqlite3.Connection, device: str) -> int:
    """How many are kept, up to MAX_GAPS."""
    row = connection.execute(
        "SELECT count(*) FROM (SELECT 1 FROM streams JOIN gaps ON gaps.stream = streams.id"
        " WHERE device = ? LIMIT ?)",
        (device, MAX_GAPS),
    ).fetchone()
    return int(row[0])


def known_streams(connection: sqlite3.Connection, device: str, life: str) -> dict[int, int]:
    """What the hub has of an outbox: stream -> number."""
    rows = connection.execute(
        "SELECT stream, high FROM streams WHERE device = ? AND life = ?", (device, life)
    )
    return {int(row[0]): int(row[1]) for row in rows}


def time_of(record: Record, received_ms: int) -> int:
    """When it was, as the hub's clock goes; when it came, for a device that did not know."""
    if record.time_ms is None:
        return received_ms
    return max(0, min(record.time_ms, LATEST_MS))


def label(source: str, kind: str) -> str:
    """How a segment's list of labels has a source and kind of record."""
    return f"\n{source}\t{kind}\n"


def labels_of(records: Sequence[Record]) -> str | None:
    """The sources and kinds of a segment, so that a search need not inflate it; None: unknown."""
    pairs = {(record.source, record.kind) for record in records}
    if len(pairs) > MAX_LABELS:
        return None
    if not all((source + kind).isprintable() for source, kind in pairs):
        return None
    text = "".join(label(source, kind) for source, kind in sorted(pairs))
    return text if len(text) <= MAX_LABELS_LENGTH else None
