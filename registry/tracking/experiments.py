"""Experiments: what runs belong to. One appears by itself when a run names it."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence

from registry.database import Database
from registry.errors import (
    ImmutableError,
    InUseError,
    InvalidNameError,
    NameTakenError,
    NotFoundError,
)
from registry.tracking.filter import Attributes, parse
from registry.tracking.now import NowMs
from registry.tracking.query import Bound, condition_sql
from registry.tracking.records import Experiment, View
from registry.tracking.words import check_experiment, check_tags

_COLUMNS = """
e.id, e.name, e.created_ms, e.updated_ms, e.is_deleted,
(SELECT count(*) FROM runs r WHERE r.experiment = e.id AND r.is_deleted = 0)
"""
ATTRIBUTES: Attributes = {
    "name": ("e.name", "text"),
    "experiment_id": ("CAST(e.id AS TEXT)", "text"),
    "creation_time": ("e.created_ms", "number"),
    "last_update_time": ("e.updated_ms", "number"),
}
"""What a filter may ask of an experiment."""
Found = list[Experiment]
MAX_LIMIT = 50_000


class Experiments:
    """Those of one workspace. One is named by its name."""

    def __init__(self, database: Database, now_ms: NowMs) -> None:
        self._database = database
        self._now_ms = now_ms

    def create(self, name: str, *, tags: Mapping[str, str] | None = None) -> Experiment:
        """A new one. Raises InvalidNameError, NameTakenError."""
        check_experiment(name)
        checked = check_tags(tags or {})
        with self._database.write() as connection:
            if _row(connection, name) is not None:
                raise NameTakenError(f"there is an experiment {name!a} already")
            id = create(connection, name, self._now_ms())
            _set_tags(connection, id, checked)
            return read(connection, id)

    def get(self, name: str) -> Experiment:
        """The one of this name. Raises NotFoundError."""
        with self._database.read() as connection:
            return read(connection, _find(connection, name))

    def get_by_id(self, id: int) -> Experiment:
        """The one with this id. Raises NotFoundError."""
        with self._database.read() as connection:
            return read(connection, id)

    def list(
        self, *, view: View = "active", filter: str = "", limit: int = MAX_LIMIT, offset: int = 0
    ) -> Found:
        """The newest first. ``filter`` is as of ``Runs.search``, of name, creation_time,
        last_update_time and tags. Raises InvalidNameError for a filter that cannot be read."""
        where = ["(?1 = 'all' OR e.is_deleted = (?1 = 'deleted'))"]
        values: list[Bound] = [view]
        for condition in parse(filter, ATTRIBUTES):
            if condition.of not in ("attribute", "tag"):
                raise InvalidNameError(f"an experiment has no {condition.of}s to filter by")
            sql, found = condition_sql(condition, ATTRIBUTES, owner="e.id", tags="experiment_tags")
            where.append(sql)
            values += found
        with self._database.read() as connection:
            rows = connection.execute(
                f"SELECT e.id FROM experiments e WHERE {' AND '.join(where)}"
                " ORDER BY e.created_ms DESC, e.id DESC LIMIT ? OFFSET ?",
                (*values, max(0, min(limit, MAX_LIMIT)), max(0, offset)),
            ).fetchall()
            return [read(connection, row["id"]) for row in rows]

    def rename(self, name: str, new_name: str) -> Experiment:
        """Change the name; its runs' references change with it. Raises NameTakenError."""
        check_experiment(new_name)
        with self._database.write() as connection:
            id = _find(connection, name)
            if new_name != name and _row(connection, new_name) is not None:
                raise NameTakenError(f"there is an experiment {new_name!a} already")
            self._update(connection, id, "name = ?", new_name)
            return read(connection, id)

    def tag(
        self, name: str, *, set: Mapping[str, str] | None = None, remove: Sequence[str] = ()
    ) -> Experiment:
        """Set and remove tags."""
        checked = check_tags(set or {})
        with self._database.write() as connection:
            id = _find(connection, name)
            connection.executemany(
                "DELETE FROM experiment_tags WHERE experiment = ? AND key = ?",
                [(id, key) for key in remove],
            )
            _set_tags(connection, id, checked)
            return read(connection, id)

    def delete(self, name: str) -> Experiment:
        """Hide it and its runs, until ``restore``. Its name stays taken. Raises NotFoundError."""
        return self._hide(name, True)

    def restore(self, name: str) -> Experiment:
        """Show it again, with the runs that ``delete`` has hidden."""
        return self._hide(name, False)

    def remove(self, name: str) -> Experiment:
        """Forget an experiment without runs for good. Raises InUseError for one that has some,
        deleted ones too."""
        with self._database.write() as connection:
            found = read(connection, _find(connection, name))
            if found.id == 0:
                raise ImmutableError("the experiment 'Default' cannot be removed")
            runs = connection.execute(
                "SELECT number FROM runs WHERE experiment = ? ORDER BY number LIMIT 5", (found.id,)
            ).fetchall()
            if runs:
                users = [f"{name}:{row['number']}" for row in runs]
                raise InUseError(f"experiment {name}", users, "run")
            connection.execute("DELETE FROM experiments WHERE id = ?", (found.id,))
            return found

    def _hide(self, name: str, is_deleted: bool) -> Experiment:
        with self._database.write() as connection:
            id = _find(connection, name)
            self._update(connection, id, "is_deleted = ?", int(is_deleted))
            connection.execute(
                "UPDATE runs SET is_deleted = ?2 WHERE experiment = ?1 AND is_deleted = 2 - ?2",
                (id, 2 if is_deleted else 0),
            )
            return read(connection, id)

    def _update(
        self, connection: sqlite3.Connection, id: int, assignment: str, value: str | int
    ) -> None:
        connection.execute(
            f"UPDATE experiments SET {assignment}, updated_ms = max(updated_ms, ?) WHERE id = ?",
            (value, self._now_ms(), id),
        )


def create(connection: sqlite3.Connection, name: str, now_ms: int) -> int:
    """Within a transaction: a new one, whose name is valid and not taken; its id."""
    row = connection.execute(
        "INSERT INTO experiments (name, created_ms, updated_ms) VALUES (?, ?, ?) RETURNING id",
        (name, now_ms, now_ms),
    ).fetchone()
    return int(row[0])


def find_or_create(connection: sqlite3.Connection, name: str, now_ms: int) -> int:
    """Within a transaction: the id of the one of this name, which appears if it is not there.
    Raises InvalidNameError for one that is deleted."""
    row = _row(connection, check_experiment(name))
    if row is None:
        return create(connection, name, now_ms)
    if row["is_deleted"]:
        raise InvalidNameError(
            f"the experiment {name!a} is deleted; use another name, or: inferry experiment restore"
        )
    return int(row["id"])


def check_active(connection: sqlite3.Connection, id: int) -> None:
    """Without counting its runs, as ``read`` does. Raises NotFoundError, ImmutableError."""
    row = connection.execute(
        "SELECT name, is_deleted FROM experiments WHERE id = ?", (id,)
    ).fetchone()
    if row is None:
        raise _no_id(id)
    if row[1]:
        raise ImmutableError(f"the experiment {row[0]!a} is deleted")


def _no_id(id: int) -> NotFoundError:
    return NotFoundError(f"there is no experiment with the id {id}")


def _row(connection: sqlite3.Connection, name: str) -> sqlite3.Row | None:
    row = connection.execute("SELECT id, is_deleted FROM experiments WHERE name = ?", (name,))
    found = row.fetchone()
    assert found is None or isinstance(found, sqlite3.Row)
    return found


def _find(connection: sqlite3.Connection, name: str) -> int:
    row = _row(connection, name)
    if row is None:
        raise NotFoundError(
            f"there is no experiment {ascii(name)[:80]}; see inferry experiment list"
        )
    return int(row["id"])


def read(connection: sqlite3.Connection, id: int) -> Experiment:
    """The one with this id. Raises NotFoundError."""
    row = connection.execute(
        f"SELECT {_COLUMNS} FROM experiments e WHERE e.id = ?", (id,)
    ).fetchone()
    if row is None:
        raise _no_id(id)
    tags = connection.execute(
        "SELECT key, value FROM experiment_tags WHERE experiment = ? ORDER BY key", (id,)
    ).fetchall()
    id, name, created_ms, updated_ms, is_deleted, runs = row
    pairs = {tag["key"]: tag["value"] for tag in tags}
    return Experiment(id, name, created_ms, updated_ms, bool(is_deleted), pairs, runs)


def _set_tags(connection: sqlite3.Connection, id: int, tags: Mapping[str, str]) -> None:
    connection.executemany(
        "INSERT OR REPLACE INTO experiment_tags VALUES (?, ?, ?)",
        [(id, *pair) for pair in tags.items()],
    )
