"""A database whose connections stay open."""

from __future__ import annotations

import sqlite3
import threading
from pathlib import Path

import pytest

from registry.database import Database
from registry.errors import NotFoundError
from registry.kept_database import MOST, KeptDatabase


@pytest.fixture
def database(tmp_path: Path) -> KeptDatabase:
    database = KeptDatabase(tmp_path / "w.db")
    database.migrate()
    return database


def _set(database: Database, value: str) -> None:
    with database.write() as connection:
        connection.execute("INSERT OR REPLACE INTO settings VALUES ('k', ?)", (value,))


def _get(database: Database) -> str | None:
    with database.read() as connection:
        row = connection.execute("SELECT value FROM settings WHERE key = 'k'").fetchone()
    return None if row is None else str(row[0])


def _tear(database: Database) -> None:
    with database.write() as connection:
        connection.execute("UPDATE settings SET value = 'torn'")
        raise KeyError


def _refuse(database: Database, way: str) -> None:
    with getattr(database, way)() as connection:
        if way == "write":
            connection.execute("UPDATE settings SET value = 'torn'")
        raise NotFoundError("there is no such thing")


def test_each_read_sees_what_others_wrote(database: KeptDatabase, tmp_path: Path) -> None:
    other = Database(tmp_path / "w.db")
    for number in range(5):
        _set(other, f"other {number}")
        assert _get(database) == f"other {number}"
        _set(database, f"own {number}")
        assert _get(other) == f"own {number}"
    database.close()


def test_a_transaction_within_another_has_its_own_connection(database: KeptDatabase) -> None:
    _set(database, "before")
    with database.read() as outer:
        outer.execute("SELECT 1 FROM settings").fetchone()
        _set(database, "after")
        row = outer.execute("SELECT value FROM settings WHERE key = 'k'").fetchone()
        assert (row[0], _get(database)) == ("before", "after")
    database.close()


def test_what_fails_is_undone_and_nothing_of_it_stays(database: KeptDatabase) -> None:
    _set(database, "before")
    with pytest.raises(KeyError):
        _tear(database)
    with pytest.raises(sqlite3.IntegrityError), database.write() as connection:
        connection.execute("INSERT INTO settings VALUES ('k', 'twice')")
    assert _get(database) == "before"
    _set(database, "after")
    database.close()
    assert _get(database) == "after"
    database.close()


@pytest.mark.parametrize("way", ["read", "write"])
def test_a_refusal_undoes_what_was_begun_and_costs_no_connection(
    database: KeptDatabase, way: str
) -> None:
    _set(database, "before")
    made = [each[1] for each in database._idle]
    with pytest.raises(NotFoundError):
        _refuse(database, way)
    assert [each[1] for each in database._idle] == made
    assert not made[0].in_transaction
    assert _get(database) == "before"
    database.close()


@pytest.mark.parametrize("how", ["swapped", "made anew"])
def test_a_file_that_took_the_place_of_the_first_is_the_database(
    database: KeptDatabase, tmp_path: Path, how: str
) -> None:
    _set(database, "old")
    other = Database(tmp_path / ("w.db" if how == "made anew" else "other.db"))
    if how == "made anew":
        for each in tmp_path.glob("w.db*"):
            each.unlink()
    other.migrate()
    _set(other, "new")
    if how == "swapped":
        for each in tmp_path.glob("w.db-*"):
            each.unlink()
        (tmp_path / "other.db").replace(tmp_path / "w.db")
    assert _get(database) == "new"
    _set(database, "newer")
    assert _get(Database(tmp_path / "w.db")) == "newer"
    database.close()


def test_threads_lose_nothing(database: KeptDatabase) -> None:
    def work(number: int) -> None:
        for _ in range(10):
            with database.write() as connection:
                connection.execute(
                    "INSERT INTO settings VALUES (?, '1') ON CONFLICT DO UPDATE"
                    " SET value = CAST(value + 1 AS TEXT)",
                    (f"k{number % 4}",),
                )

    threads = [threading.Thread(target=work, args=(number,)) for number in range(MOST // 2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with database.read() as connection:
        total = connection.execute("SELECT sum(value) FROM settings WHERE key LIKE 'k_'")
        assert total.fetchone()[0] == 10 * len(threads)
    database.close()
