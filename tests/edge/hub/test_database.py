from __future__ import annotations

import sqlite3
import threading
from contextlib import closing
from pathlib import Path

import pytest

from edge.errors import HubError
from edge.hub.database import Database, changes, mark_changed, mark_desired


def test_it_is_durable_by_its_settings(database: Database) -> None:
    with closing(database.connect()) as connection:
        found = [
            connection.execute(f"PRAGMA {name}").fetchone()[0]
            for name in ("journal_mode", "synchronous", "foreign_keys")
        ]
    assert found == ["wal", 2, 1]


def test_migrations_are_done_once_and_by_one_of_many(tmp_path: Path) -> None:
    database = Database(tmp_path / "hub.db")
    failures: list[BaseException] = []

    def migrate() -> None:
        try:
            Database(tmp_path / "hub.db").migrate()
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=migrate) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not failures
    with database.reader() as connection:
        assert changes(connection) == {"commands": 0, "desired": 0, "devices": 0}


def test_a_newer_database_is_refused(database: Database) -> None:
    with closing(sqlite3.connect(database.path)) as connection:
        connection.execute("PRAGMA user_version = 99")
    with pytest.raises(HubError, match="newer"):
        database.migrate()


def test_a_writer_that_raises_changes_nothing(database: Database) -> None:
    def fail() -> None:
        with database.writer() as connection:
            mark_changed(connection, "desired")
            raise RuntimeError

    with database.reader() as connection:
        before = changes(connection)
    with pytest.raises(RuntimeError):
        fail()
    with database.reader() as connection:
        assert changes(connection) == before


def test_many_threads_may_write(database: Database) -> None:
    def write() -> None:
        for _ in range(10):
            with database.writer() as connection:
                mark_changed(connection, "commands")

    threads = [threading.Thread(target=write) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    with database.reader() as connection:
        assert changes(connection)["commands"] == 40


def test_only_the_devices_named_are_marked(database: Database) -> None:
    def marked(above: int) -> list[str]:
        with database.reader() as connection:
            rows = connection.execute("SELECT name FROM devices WHERE desired_mark > ?", (above,))
            return sorted(row[0] for row in rows)

    with database.reader() as connection:
        before = changes(connection)["desired"]
    with database.writer() as connection:
        mark_desired(connection, ["b"])
    assert marked(before) == ["b"]
    with database.writer() as connection:
        mark_desired(connection)
    assert marked(before + 1) == ["a", "b"]


def test_what_is_no_database_is_said_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "hub.db").write_bytes(b"no database" * 1000)
    with pytest.raises(HubError) as caught:
        Database(tmp_path / "hub.db").migrate()
    assert str(tmp_path) not in str(caught.value)
    with pytest.raises(HubError, match="permissions"):
        Database(tmp_path / "nowhere" / "hub.db").migrate()
