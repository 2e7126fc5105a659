"""Records of telemetry in the order in which they came, page by page, and what is known to be lost.

query = Query(device="camera-1", kind="metrics")
page = records(connection, query, limit=100)
more = records(connection, query, after=page.cursor)
for record in follow(database, query, after=more.cursor, is_stopped=lambda: False): ...
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import msgspec

from edge.errors import InvalidMessageError, InvalidSpecError
from edge.hub.database import Database
from edge.hub.ingest import label, time_of
from edge.messages import codec
from edge.messages.telemetry import Batch, Record

FOLLOW_S = 0.3
PAGE = 1_000


class Cursor(NamedTuple):
    """Behind one record. As text: "segment:seq"."""

    segment: int = 0
    seq: int = 0

    def __str__(self) -> str:
        return f"{self.segment}:{self.seq}"

    @classmethod
    def parse(cls, text: str) -> Cursor:
        """Raises InvalidSpecError."""
        segment, _, seq = text.partition(":")
        if not (segment.isdecimal() and seq.isdecimal() and len(text) <= 40):
            raise InvalidSpecError(f"{ascii(text)[:50]} is no place among records, like 12:345")
        return cls(int(segment), int(seq))


@dataclass(frozen=True, slots=True)
class Query:
    """None: any. ``since_ms`` and ``until_ms`` (both included): since 1970."""

    device: str | None = None
    source: str | None = None
    kind: str | None = None
    since_ms: int | None = None
    until_ms: int | None = None


@dataclass(frozen=True, slots=True)
class StoredRecord:
    """``is_time_exact``: whether the device knew the time; else ``time_ms`` is when it came, and
    ``clock_ms`` what the device's own clock said. ``body``: JSON."""

    device: str
    life: str
    stream: int
    seq: int
    time_ms: int
    is_time_exact: bool
    clock_ms: int
    source: str
    kind: str
    body: msgspec.Raw
    cursor: Cursor


@dataclass(frozen=True, slots=True)
class Page:
    """``cursor``: to go on from. ``is_last``: nothing more is there now."""

    records: list[StoredRecord]
    cursor: Cursor
    is_last: bool


@dataclass(frozen=True, slots=True)
class StoredGap:
    """Numbers of a stream that will never be there."""

    device: str
    life: str
    stream: int
    first: int
    last: int
    reason: str
    received_ms: int


def records(
    connection: sqlite3.Connection,
    query: Query,
    *,
    after: Cursor | None = None,
    limit: int = PAGE,
) -> Page:
    """The next ones, oldest first."""
    after = after or Cursor()
    found: list[StoredRecord] = []
    cursor = after
    for row in _segments(connection, query, after.segment):
        cursor = Cursor(row["id"], row["last"])
        for record in _inflate(row, query):
            if record.cursor <= after:
                continue
            if len(found) == limit:
                return Page(found, found[-1].cursor, is_last=False)
            found.append(record)
    return Page(found, max(after, cursor), is_last=True)


def newest(connection: sqlite3.Connection, query: Query, limit: int) -> Page:
    """The last ones, oldest first; the page's cursor is behind the newest of all."""
    last = connection.execute("SELECT id, last FROM segments ORDER BY id DESC LIMIT 1").fetchone()
    cursor = Cursor(last["id"], last["last"]) if last else Cursor()
    found: list[StoredRecord] = []
    for row in _segments(connection, query, 0, is_newest_first=True):
        found.extend(reversed(list(_inflate(row, query))))
        if len(found) >= limit:
            break
    return Page(found[:limit][::-1], cursor, is_last=True)


def follow(
    database: Database,
    query: Query,
    *,
    after: Cursor,
    is_stopped: Callable[[], bool],
    sleep: Callable[[float], None] = time.sleep,
) -> Iterator[StoredRecord]:
    """What comes, as it comes."""
    while not is_stopped():
        with database.reader() as connection:
            page = records(connection, query, after=after)
        after = page.cursor
        yield from page.records
        if page.is_last:
            sleep(FOLLOW_S)


def gaps(
    connection: sqlite3.Connection, device: str | None = None, limit: int = PAGE
) -> list[StoredGap]:
    """The newest ones first."""
    rows = connection.execute(
        "SELECT device, life, streams.stream, first, last, reason, received_ms FROM gaps"
        " JOIN streams ON streams.id = gaps.stream WHERE ?1 IS NULL OR device = ?1"
        " ORDER BY gaps.id DESC LIMIT ?2",
        (device, limit),
    )
    return [StoredGap(*row) for row in rows]


def totals(connection: sqlite3.Connection) -> dict[str, int]:
    """Of what is there: records, size_bytes; of what will never be: lost; of what retention has
    removed: dropped_records, dropped_bytes."""
    return {str(row[0]): int(row[1]) for row in connection.execute("SELECT * FROM totals")}


def _segments(
    connection: sqlite3.Connection, query: Query, from_id: int, *, is_newest_first: bool = False
) -> sqlite3.Cursor:
    where, given = ["segments.id >= ?"], list[object]([from_id])
    for text, value in (
        ("segments.stream IN (SELECT id FROM streams WHERE device = ?)", query.device),
        ("to_ms >= ?", query.since_ms),
        ("from_ms <= ?", query.until_ms),
        ("(labels IS NULL OR instr(labels, ?))", _wanted_label(query)),
    ):
        if value is not None:
            where.append(text)
            given.append(value)
    return connection.execute(
        "SELECT segments.*, device, life, streams.stream AS number FROM segments"
        f" JOIN streams ON streams.id = segments.stream WHERE {' AND '.join(where)}"
        f" ORDER BY segments.id {'DESC' if is_newest_first else 'ASC'}",
        given,
    )


def _wanted_label(query: Query) -> str | None:
    if query.source is not None and query.kind is not None:
        return label(query.source, query.kind)
    if query.source is not None:
        return f"\n{query.source}\t"
    return None if query.kind is None else f"\t{query.kind}\n"


def _inflate(row: sqlite3.Row, query: Query) -> Iterator[StoredRecord]:
    try:
        plain = codec.inflate(row["payload"])
        batch = codec.decode(plain, Batch, codec.MAX_PLAIN_BYTES)
    except InvalidMessageError:
        return  # was read once, when it came: the disk has damaged it since
    for record in batch.records:
        if row["first"] <= record.seq <= row["last"] and _is_asked_for(record, row, query):
            yield StoredRecord(
                device=row["device"],
                life=row["life"],
                stream=row["number"],
                seq=record.seq,
                time_ms=time_of(record, row["received_ms"]),
                is_time_exact=record.time_ms is not None,
                clock_ms=record.clock_ms,
                source=record.source,
                kind=record.kind,
                body=record.body,
                cursor=Cursor(row["id"], record.seq),
            )


def _is_asked_for(record: Record, row: sqlite3.Row, query: Query) -> bool:
    time_ms = time_of(record, row["received_ms"])
    return (
        (query.source is None or record.source == query.source)
        and (query.kind is None or record.kind == query.kind)
        and (query.since_ms is None or time_ms >= query.since_ms)
        and (query.until_ms is None or time_ms <= query.until_ms)
    )
