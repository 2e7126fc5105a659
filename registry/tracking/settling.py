"""Runs whose process is gone without a word: found, and their end made a fact."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from dataclasses import replace

from registry.database import Database
from registry.errors import RegistryError
from registry.tracking import run_rows
from registry.tracking.lives import End, Lives
from registry.tracking.records import RunRecord


class Settling:
    """Of the runs of one workspace."""

    def __init__(self, database: Database, lives: Lives) -> None:
        self._database = database
        self._lives = lives

    def settle(self) -> Mapping[str, End]:
        """What the dead left behind becomes a fact. Nobody can end or take a run during a write
        transaction, so that a life that is not held is of a dead process, and its file nobody
        else's. Where that cannot be written: how they ended, by id."""
        with self._database.read() as connection:
            dead = self._dead(connection)
        if not dead:
            return {}
        try:
            with self._database.write() as connection:
                dead = self._dead(connection)
                for id, end in dead.items():
                    write_end(connection, run_rows.key_of(connection, id), end)
            with self._database.write():
                for id in dead:
                    if not self._lives.is_held(id):
                        self._lives.remove(id)
        except RegistryError:
            with self._database.read() as connection:  # it ended, if it did, before it let go
                still = {id for id, _ in _alive(connection)}
            return {id: end for id, end in dead.items() if id in still}
        return {}

    def _dead(self, connection: sqlite3.Connection) -> dict[str, End]:
        """Runs that say that they run, and whose process is gone."""
        return {
            id: self._lives.last_words(id, started_ms)
            for id, started_ms in _alive(connection)
            if not self._lives.is_held(id)
        }


def write_end(connection: sqlite3.Connection, key: int, end: End) -> None:
    """No run ends before it began, whatever the clocks say."""
    connection.execute(
        "UPDATE runs SET status = ?, cause = ?, ended_ms = max(started_ms, ?), has_life = 0"
        " WHERE key = ?",
        (end.status, end.cause, end.ended_ms, key),
    )


def as_it_is(run: RunRecord, dead: Mapping[str, End]) -> RunRecord:
    """The record, with the end that could not be written."""
    end = dead.get(run.id)
    if end is None:
        return run
    return replace(run, status=end.status, cause=end.cause, ended_ms=end.ended_ms)


def _alive(connection: sqlite3.Connection) -> list[tuple[str, int]]:
    """Id and start of all runs of processes that say that they run."""
    rows = connection.execute(
        "SELECT id, started_ms FROM runs WHERE has_life = 1 AND status = 'running'"
    )
    return [(row["id"], row["started_ms"]) for row in rows]
