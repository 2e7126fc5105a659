from __future__ import annotations

import json

import pytest

from edge.errors import InvalidSpecError
from edge.hub.database import Database
from edge.hub.telemetry import Cursor, Page, Query, follow, newest, records
from edge.messages.telemetry import Record
from tests.edge.hub.fakes import NOW_MS, batch, record
from tests.edge.hub.test_ingest import put


def page(
    database: Database, query: Query | None = None, after: Cursor | None = None, limit: int = 100
) -> Page:
    with database.reader() as connection:
        return records(connection, query or Query(), after=after, limit=limit)


def seqs(found: Page) -> list[int]:
    return [one.seq for one in found.records]


def test_records_come_page_by_page_without_a_loss(database: Database) -> None:
    put(database, batch(1, 5), batch(6, 7), batch(8, 12))
    seen: list[int] = []
    cursor: Cursor | None = None
    while True:
        found = page(database, after=cursor, limit=3)
        seen += seqs(found)
        cursor = Cursor.parse(str(found.cursor))
        if found.is_last:
            break
    assert seen == list(range(1, 13))
    put(database, batch(10, 14))
    assert seqs(page(database, after=cursor)) == [13, 14]


def test_what_was_stored_is_what_was_sent(database: Database) -> None:
    put(database, batch(1, 1, stream=2))
    (found,) = page(database).records
    assert (found.device, found.life, found.stream, found.seq) == ("a", "life", 2, 1)
    assert (found.time_ms, found.is_time_exact, found.clock_ms) == (NOW_MS, True, 5)
    assert json.loads(bytes(found.body)) == {"seq": 1}


def test_records_are_found_by_device_source_kind_and_time(database: Database) -> None:
    rows = [
        record(1, time_ms=100, source="host", kind="metrics"),
        record(2, time_ms=200, source="digits", kind="metrics"),
        record(3, time_ms=300, source="digits", kind="event"),
        record(4, time_ms=None, source="digits.2", kind="event"),
    ]
    put(database, batch(1, 4, records=rows))
    put(database, batch(1, 1), device="b")
    assert seqs(page(database, Query(device="a"))) == [1, 2, 3, 4]
    assert seqs(page(database, Query(source="digits"))) == [2, 3]
    assert seqs(page(database, Query(kind="metrics"))) == [1, 2]
    assert seqs(page(database, Query(source="digits", kind="event"))) == [3]
    assert seqs(page(database, Query(since_ms=200, until_ms=300))) == [2, 3]
    assert seqs(page(database, Query(device="a", since_ms=NOW_MS))) == [4]
    assert seqs(page(database, Query(source="nobody"))) == []
    assert seqs(page(database, Query(source="dig"))) == []


def test_labels_that_are_unknown_are_looked_at(database: Database) -> None:
    rows: list[Record] = [record(n, source=f"s{n}") for n in range(1, 60)]
    put(database, batch(1, 59, records=rows))
    assert seqs(page(database, Query(source="s7"))) == [7]


def test_the_newest_are_the_last_ones_in_order(database: Database) -> None:
    put(database, batch(1, 5), batch(6, 9))
    put(database, batch(1, 2), device="b")
    with database.reader() as connection:
        assert seqs(newest(connection, Query(device="a"), 6)) == [4, 5, 6, 7, 8, 9]
        assert seqs(newest(connection, Query(device="a"), 100)) == list(range(1, 10))
        last = newest(connection, Query(device="a"), 1)
        assert seqs(newest(connection, Query(device="none"), 1)) == []
    put(database, batch(10, 11))
    assert seqs(page(database, Query(device="a"), after=last.cursor)) == [10, 11]


def test_following_sees_what_comes(database: Database) -> None:
    put(database, batch(1, 2))
    later = [batch(3, 4), batch(5, 5)]

    def sleep(_: float) -> None:
        if later:
            put(database, later.pop(0))

    found = follow(database, Query(), after=Cursor(), is_stopped=lambda: False, sleep=sleep)
    assert [next(found).seq for _ in range(5)] == [1, 2, 3, 4, 5]


def test_a_segment_that_the_disk_has_damaged_hides_no_other(database: Database) -> None:
    put(database, batch(1, 2), batch(3, 4))
    with database.writer() as connection:
        connection.execute("UPDATE segments SET payload = x'00' WHERE first = 1")
    assert seqs(page(database)) == [3, 4]


@pytest.mark.parametrize("text", ["", "1", "x:1", "1:-1", "1:2:3", "9" * 50 + ":1"])
def test_what_is_no_cursor_is_refused(text: str) -> None:
    with pytest.raises(InvalidSpecError):
        Cursor.parse(text)
