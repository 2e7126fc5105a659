"""A new run: what is checked before anything is written, and its rows."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from registry.names import check_text
from registry.tracking import experiments, run_rows
from registry.tracking.records import ENDED, RunRecord, Status
from registry.tracking.words import (
    check_integer,
    check_params,
    check_run_name,
    check_tags,
)

MAX_WORD_CHARS = 1000
"""Of a user's or script's name."""


@dataclass(frozen=True, slots=True)
class NewRun:
    """What a run is made with. ``experiment`` is a name, which appears if it is new, or the id of
    one that is there; ``parent`` is the id of the run that it is a child of."""

    experiment: str | int
    name: str = ""
    parent: str | None = None
    user: str = ""
    source: str = ""
    status: Status = "running"
    started_ms: int | None = None
    tags: Mapping[str, str] = field(default_factory=dict)
    params: Mapping[str, str] = field(default_factory=dict)
    properties: Mapping[str, str] = field(default_factory=dict)

    def check(self) -> None:
        """Raises InvalidNameError."""
        check_run_name(self.name)
        check_text(self.user, "the user", MAX_WORD_CHARS)
        check_text(self.source, "the source", MAX_WORD_CHARS)
        check_params(self.params)
        check_tags(self.tags)
        check_tags(self.properties, "property")
        if self.started_ms is not None:
            check_integer(self.started_ms, "the time of the start")


@dataclass(frozen=True, slots=True)
class Making:
    """A run to be made in the transaction of others (entries.py). ``new.parent`` may be any text:
    one that is no run is none."""

    new: NewRun
    id: str
    now_ms: int
    revision: str | None = None

    def check(self) -> None:
        """Raises InvalidNameError."""
        self.new.check()

    def write(self, connection: sqlite3.Connection) -> RunRecord:
        """Raises as ``insert``."""
        parent = self.new.parent
        if parent is not None and not run_rows.is_there(connection, parent):
            parent = None
        key = insert(
            connection, replace(self.new, parent=parent), self.id, self.now_ms, has_life=False
        )
        if self.revision is not None:
            connection.execute("UPDATE runs SET revision = ? WHERE key = ?", (self.revision, key))
        return run_rows.read(connection, [key], {})[0]


def insert(
    connection: sqlite3.Connection, new: NewRun, id: str, now_ms: int, *, has_life: bool
) -> int:
    """Within a transaction: the run, which was checked; its key. Raises NotFoundError for the
    parent or the experiment, ImmutableError for an experiment that is deleted."""
    owner = _experiment_id(connection, new.experiment, now_ms)
    started_ms = now_ms if new.started_ms is None else new.started_ms
    number = connection.execute(
        "UPDATE experiments SET next_number = next_number + 1 WHERE id = ?"
        " RETURNING next_number - 1",
        (owner,),
    ).fetchone()[0]
    row = connection.execute(
        "INSERT INTO runs (id, experiment, number, name, parent, status, user, source,"
        " started_ms, ended_ms, has_life) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
        " RETURNING key",
        (
            id,
            owner,
            number,
            new.name,
            None if new.parent is None else run_rows.key_of(connection, new.parent),
            new.status,
            new.user,
            new.source,
            started_ms,
            started_ms if new.status in ENDED else None,
            has_life,
        ),
    ).fetchone()
    key = int(row[0])
    run_rows.set_params(connection, key, new.params)
    run_rows.set_tags(connection, key, new.tags)
    run_rows.add_properties(connection, key, new.properties)
    return key


def _experiment_id(connection: sqlite3.Connection, experiment: str | int, now_ms: int) -> int:
    if isinstance(experiment, str):
        return experiments.find_or_create(connection, experiment, now_ms)
    experiments.check_active(connection, experiment)
    return experiment
