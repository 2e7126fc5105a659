from __future__ import annotations

import sqlite3
from collections.abc import Sequence

import pytest

from edge.hub.database import Database
from edge.hub.ingest import (
    MAX_STREAMS,
    MAX_TOTAL,
    Heard,
    Stored,
    known_streams,
    labels_of,
    store,
    time_of,
)
from edge.hub.telemetry import Query, gaps, records, totals
from edge.messages.telemetry import Batch, Gap
from tests.edge.hub.fakes import NOW_MS, batch, packed, record


def put(database: Database, *batches: Batch, device: str = "a") -> Stored:
    heard = [Heard(device, packed(one), one) for one in batches]
    with database.writer() as connection:
        return store(connection, heard, NOW_MS)


def numbers(database: Database, device: str = "a") -> Sequence[int]:
    with database.reader() as connection:
        return [one.seq for one in records(connection, Query(device=device)).records]


def test_a_group_is_stored_and_acknowledged_by_its_highest_numbers(database: Database) -> None:
    stored = put(database, batch(1, 3), batch(4, 5), batch(1, 2, stream=1), batch(1, 1, life="z"))
    assert stored.acks == {("a", "life"): {0: 5, 1: 2}, ("a", "z"): {0: 1}}
    assert stored.records == 8
    assert numbers(database) == [1, 2, 3, 4, 5, 1, 2, 1]


def test_what_comes_twice_is_there_once(database: Database) -> None:
    stored = put(database, batch(1, 5), batch(1, 5), batch(3, 8))
    assert (stored.records, stored.repeated) == (8, 8)
    stored = put(database, batch(1, 8))
    assert stored.acks == {("a", "life"): {0: 8}}
    assert (stored.records, stored.repeated) == (0, 8)
    assert numbers(database) == [1, 2, 3, 4, 5, 6, 7, 8]


def test_a_hole_is_answered_with_the_old_number(database: Database) -> None:
    stored = put(database, batch(1, 2), batch(4, 5))
    assert stored.acks == {("a", "life"): {0: 2}}
    assert stored.holes == 1
    assert put(database, batch(5, 6, life="other")).acks == {("a", "other"): {0: 0}}
    assert numbers(database) == [1, 2]


def test_devices_do_not_share_streams(database: Database) -> None:
    put(database, batch(1, 2), device="a")
    assert put(database, batch(1, 3), device="b").acks == {("b", "life"): {0: 3}}
    assert (numbers(database, "a"), numbers(database, "b")) == ([1, 2], [1, 2, 3])


def test_gaps_are_kept_and_counted(database: Database) -> None:
    put(database, batch(1, 9, gaps=[Gap(2, 4, "full")]), batch(20, 20, base=20))
    with database.reader() as connection:
        found = [(gap.first, gap.last, gap.reason) for gap in gaps(connection, "a")]
        assert totals(connection)["lost"] == 13
        assert gaps(connection, "b") == []
    assert found == [(10, 19, "hub lost"), (2, 4, "full")]


def test_absurd_numbers_and_times_do_no_harm(database: Database) -> None:
    giant = 2**63 - 1
    for life in "abcdefgh":
        gap = Gap(1, giant, "full")
        put(database, batch(1, giant, life=life, gaps=[gap], records=[]))
    late, early = record(1, time_ms=10**30), record(2, time_ms=-(10**30))
    put(database, batch(1, 2, records=[late, early]))
    assert numbers(database) == [1, 2]
    with database.reader() as connection:
        assert totals(connection)["lost"] == MAX_TOTAL


def test_one_device_cannot_begin_streams_for_ever(database: Database) -> None:
    with database.writer() as connection:
        connection.executemany(
            "INSERT INTO streams (device, life, stream, high) VALUES ('a', ?, 0, 0)",
            [(str(number),) for number in range(MAX_STREAMS)],
        )
    stored = put(database, batch(1, 1, life="one-more"), batch(1, 1, life="7"))
    assert [(reason, device) for reason, device, _ in stored.refused] == [("streams", "a")]
    assert stored.acks == {("a", "7"): {0: 1}}
    assert put(database, batch(1, 1), device="b").records == 1


def test_what_the_hub_has_of_an_outbox_is_known(database: Database) -> None:
    put(database, batch(1, 3), batch(1, 2, stream=4), batch(1, 9, life="older"))
    with database.reader() as connection:
        assert known_streams(connection, "a", "life") == {0: 3, 4: 2}
        assert known_streams(connection, "b", "life") == {}


def test_a_transaction_that_fails_stores_nothing(database: Database) -> None:
    one = batch(1, 3)
    try:
        with database.writer() as connection:
            store(connection, [Heard("a", packed(one), one)], NOW_MS)
            connection.execute("INSERT INTO streams (id) VALUES (NULL)")
    except sqlite3.IntegrityError:
        pass
    assert numbers(database) == []
    assert put(database, one).acks == {("a", "life"): {0: 3}}


def test_a_record_without_a_time_has_that_of_its_coming() -> None:
    assert time_of(record(1, time_ms=None), NOW_MS) == NOW_MS
    assert time_of(record(1, time_ms=7), NOW_MS) == 7


def test_labels_that_would_confuse_a_search_are_left_out() -> None:
    assert labels_of([record(1), record(2, kind="event")]) == "\nm\tevent\n\nm\tk\n"
    assert labels_of([record(1, source="a\tb")]) is None
    assert labels_of([record(n, source=str(n)) for n in range(100)]) is None
    assert labels_of([record(1, source="x" * 5000)]) is None


def test_a_device_that_reports_gaps_without_end_fills_no_disk(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edge.hub.ingest.MAX_GAPS", 10)
    for start in range(1, 42, 8):
        one = batch(start, start + 7, gaps=[Gap(n, n, "full") for n in range(start, start + 8)])
        with database.writer() as connection:
            stored = store(connection, [Heard("a", packed(one), one)], NOW_MS)
        assert stored.acks["a", "life"][0] == start + 7
    other = batch(1, 1, gaps=[Gap(1, 1, "full")])
    with database.writer() as connection:
        store(connection, [Heard("b", packed(other), other)], NOW_MS)
    with database.reader() as connection:
        assert len(gaps(connection, "a")) == 10
        assert len(gaps(connection, "b")) == 1
        assert totals(connection)["lost"] == 49
