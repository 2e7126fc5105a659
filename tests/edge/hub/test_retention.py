from __future__ import annotations

from edge.hub.command_queue import open_commands, send
from edge.hub.database import Database
from edge.hub.ingest import Heard, store
from edge.hub.retention import AT_ONCE, Retention
from edge.hub.telemetry import gaps, totals
from edge.messages.telemetry import Batch, Gap
from tests.edge.hub.fakes import NOW_MS, batch, packed
from tests.edge.hub.test_ingest import numbers

HOUR_MS = 3_600_000


def put(database: Database, one: Batch, now_ms: int) -> int:
    payload = packed(one)
    with database.writer() as connection:
        store(connection, [Heard("a", payload, one)], now_ms)
    return len(payload)


def found(database: Database) -> dict[str, int]:
    with database.reader() as connection:
        return totals(connection)


def test_what_is_too_old_is_removed_and_counted(database: Database) -> None:
    old = put(database, batch(1, 3, gaps=[Gap(2, 2, "full")]), NOW_MS)
    new = put(database, batch(4, 5), NOW_MS + HOUR_MS)
    send(database, "a", "ping", now_ms=NOW_MS, expires_s=1)
    Retention(database, max_age_s=3600).run(NOW_MS + HOUR_MS + 2000)
    assert numbers(database) == [4, 5]
    assert found(database) == {
        "records": 2, "size_bytes": new, "lost": 1, "dropped_records": 2, "dropped_bytes": old,
    }  # fmt: skip
    with database.reader() as connection:
        assert gaps(connection) == []
        assert connection.execute("SELECT count(*) FROM commands").fetchone()[0] == 0


def test_what_is_too_much_goes_the_oldest_first(database: Database) -> None:
    sizes = [put(database, batch(n * 2 + 1, n * 2 + 2), NOW_MS) for n in range(5)]
    Retention(database, max_bytes=sum(sizes[3:])).run(NOW_MS)
    assert numbers(database) == [7, 8, 9, 10]
    assert found(database)["size_bytes"] == sum(sizes[3:])
    assert found(database)["dropped_records"] == 6


def test_much_is_removed_in_short_transactions(database: Database) -> None:
    with database.writer() as connection:
        many = [batch(n, n) for n in range(1, AT_ONCE * 2 + 2)]
        store(connection, [Heard("a", packed(one), one) for one in many], NOW_MS)
    Retention(database, max_bytes=0).run(NOW_MS)
    assert numbers(database) == []
    assert found(database)["dropped_records"] == AT_ONCE * 2 + 1


def test_what_is_within_bounds_stays_and_the_stream_goes_on(database: Database) -> None:
    put(database, batch(1, 3), NOW_MS)
    id = send(database, "a", "ping", now_ms=NOW_MS)
    Retention(database).run(NOW_MS)
    assert numbers(database) == [1, 2, 3]
    with database.reader() as connection:
        assert open_commands(connection, NOW_MS) == [id]
    Retention(database, max_bytes=0).run(NOW_MS)
    put(database, batch(1, 4), NOW_MS)
    assert numbers(database) == [4], "what was removed does not come back"
