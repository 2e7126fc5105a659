"""What clients of MLflow's REST log, each request whole or not at all, many in one transaction.

    refused = write_all(database, [Entry(run, points=[("loss", 0.5, 0, 1764230400000)])])

A client that got no answer sends again. So points that are among the newest of their series already
are left out, and what a run has said already is no error. A run that is deleted takes nothing.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from registry.database import Database
from registry.errors import RegistryError
from registry.tracking import logged_models, metrics, run_rows
from registry.tracking.points import check_points
from registry.tracking.records import Point
from registry.tracking.words import check_params, check_run_name, check_tags

Refused = list[RegistryError | None]


@dataclass(frozen=True, slots=True)
class Entry:
    """What one request logs to the run with the id ``run``. ``of_models`` are points of the run
    that measure one of its logged models, by id; ``name`` is a new name of the run."""

    run: str
    points: Sequence[Point] = ()
    params: Mapping[str, str] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)
    of_models: Sequence[tuple[str, Sequence[Point]]] = ()
    name: str | None = None

    def check(self) -> None:
        """Raises InvalidNameError."""
        check_points(self.points)
        check_params(self.params)
        check_tags(self.tags)
        if self.name is not None:
            check_run_name(self.name)


def write_all(database: Database, entries: Sequence[Entry]) -> Refused:
    """One transaction, on the disk when it returns: why each entry was refused, or None. Raises
    what kept all of them from being written."""
    with database.write() as connection:
        return [_try(connection, entry) for entry in entries]


def _try(connection: sqlite3.Connection, entry: Entry) -> RegistryError | None:
    connection.execute("SAVEPOINT entry")
    try:
        entry.check()
        _write(connection, entry)
    except RegistryError as error:
        connection.execute("ROLLBACK TO entry")
        return error
    finally:
        if connection.in_transaction:
            connection.execute("RELEASE entry")
    return None


def _write(connection: sqlite3.Connection, entry: Entry) -> None:
    run = run_rows.active_key_of(connection, entry.run)
    if points := metrics.unseen(connection, run, entry.points):
        metrics.write_points(connection, run, points)
    if entry.params:
        run_rows.set_params(connection, run, entry.params)
    if entry.tags:
        run_rows.set_tags(connection, run, entry.tags)
    if entry.name is not None:
        connection.execute("UPDATE runs SET name = ? WHERE key = ?", (entry.name, run))
    for model, measured in entry.of_models:
        logged_models.measure(connection, model, measured)
