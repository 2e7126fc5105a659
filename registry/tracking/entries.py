"""What clients of MLflow's REST log, each request whole or not at all, many in one transaction.

    refused = write_all(database, [Entry(run, points=[("loss", 0.5, 0, 1764230400000)])])

Runs that are made (``Making``) are entries, too: then four clients that make runs share the disk's
time, and none waits for the lock of the other.

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
from registry.tracking.making import Making
from registry.tracking.points import check_points
from registry.tracking.records import Point, RunRecord
from registry.tracking.words import check_params, check_run_name, check_tags

Outcome = RegistryError | RunRecord | None
"""Why an entry was refused; the run that was made; None of what was logged."""


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

    def write(self, connection: sqlite3.Connection) -> None:
        """Within a transaction. Raises RegistryError, with a part of it written."""
        run = run_rows.active_key_of(connection, self.run)
        if points := metrics.unseen(connection, run, self.points):
            metrics.write_points(connection, run, points)
        if self.params:
            run_rows.set_params(connection, run, self.params)
        if self.tags:
            run_rows.set_tags(connection, run, self.tags)
        if self.name is not None:
            connection.execute("UPDATE runs SET name = ? WHERE key = ?", (self.name, run))
        for model, measured in self.of_models:
            logged_models.measure(connection, model, measured)


def write_all(database: Database, entries: Sequence[Entry | Making]) -> list[Outcome]:
    """One transaction, on the disk when it returns: what became of each entry. Raises what kept all
    of them from being written."""
    with database.write() as connection:
        return [_try(connection, entry) for entry in entries]


def _try(connection: sqlite3.Connection, entry: Entry | Making) -> Outcome:
    connection.execute("SAVEPOINT entry")
    try:
        entry.check()
        return entry.write(connection)
    except RegistryError as error:
        connection.execute("ROLLBACK TO entry")
        return error
    finally:
        if connection.in_transaction:
            connection.execute("RELEASE entry")
