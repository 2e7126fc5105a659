"""Runs as rows: how a record is written to and read from the database."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Mapping, Sequence
from typing import Literal

from registry.errors import ImmutableError, NotFoundError
from registry.tracking.records import Metric, RunRecord
from registry.tracking.words import MAX_PAIRS

Pairs = Literal["run_params", "run_tags", "run_properties"]
COLUMNS = """
r.key, r.id, r.experiment, e.name, r.number, r.name, p.id, r.status, r.cause, r.user, r.source,
r.revision, r.environment, r.started_ms, r.ended_ms, r.is_deleted, r.cancel_requested
"""
FROM = "runs r JOIN experiments e ON e.id = r.experiment LEFT JOIN runs p ON p.key = r.parent"
_PREFIX = re.compile(r"[0-9a-f]{4,32}")
_WHAT: dict[Pairs, str] = {"run_params": "param", "run_tags": "tag", "run_properties": "property"}
Found = list[RunRecord]


def key_of(connection: sqlite3.Connection, id: str) -> int:
    """The number of the run with this id. Raises NotFoundError."""
    row = connection.execute("SELECT key FROM runs WHERE id = ?", (id,)).fetchone()
    if row is None:
        raise NotFoundError(f"there is no run {ascii(id)[:80]}; see inferry run list")
    return int(row[0])


def is_there(connection: sqlite3.Connection, id: str) -> bool:
    """Whether a run has just this id."""
    row = connection.execute("SELECT 1 FROM runs WHERE id = ?", (id,)).fetchone()
    return row is not None


def active_key_of(connection: sqlite3.Connection, id: str) -> int:
    """As ``key_of``. Raises ImmutableError for one that is deleted."""
    row = connection.execute("SELECT key, is_deleted FROM runs WHERE id = ?", (id,)).fetchone()
    if row is None:
        raise NotFoundError(f"there is no run {ascii(id)[:80]}; see inferry run list")
    if row[1]:
        raise ImmutableError(f"the run {id} is deleted; restore it first")
    return int(row[0])


def find_key(connection: sqlite3.Connection, ref: str) -> int:
    """The number of the run ``EXPERIMENT:NUMBER``, of a run's id, or of the only one whose id
    begins so. Raises NotFoundError."""
    experiment, colon, number = ref.rpartition(":")
    if colon and number.isascii() and number.isdigit() and len(number) < 19:
        row = connection.execute(
            "SELECT r.key FROM runs r JOIN experiments e ON e.id = r.experiment"
            " WHERE e.name = ? AND r.number = ?",
            (experiment, int(number)),
        ).fetchone()
        if row is not None:
            return int(row[0])
    elif _PREFIX.fullmatch(ref):
        rows = connection.execute(
            "SELECT key FROM runs WHERE id >= ?1 AND id < ?1 || 'g' LIMIT 2", (ref,)
        ).fetchall()
        if len(rows) > 1:
            raise NotFoundError(f"several runs begin with {ref}; say more of the id")
        if rows:
            return int(rows[0][0])
    raise NotFoundError(
        f"there is no run {ascii(ref)[:80]}; say EXPERIMENT:NUMBER or an id, see inferry run list"
    )


def read(
    connection: sqlite3.Connection,
    keys: Sequence[int],
    metrics: Mapping[int, Mapping[str, Metric]],
) -> Found:
    """The records of these runs, in their order, with ``metrics`` by run."""
    listed = ", ".join(map(str, keys))
    rows = connection.execute(f"SELECT {COLUMNS} FROM {FROM} WHERE r.key IN ({listed})")
    rows.row_factory = None
    params, tags, properties = (_pairs(connection, table, listed) for table in _WHAT)
    records = {
        row[0]: RunRecord(  # type: ignore[call-arg]  # the columns, in the order of the fields
            *row[:-2],
            bool(row[-2]),
            bool(row[-1]),
            params.get(row[0], {}),
            tags.get(row[0], {}),
            properties.get(row[0], {}),
            metrics.get(row[0], {}),
        )
        for row in rows
    }
    return [records[key] for key in keys if key in records]


def set_params(connection: sqlite3.Connection, key: int, params: Mapping[str, str]) -> None:
    """Add params, which can never change. Raises ImmutableError."""
    _add(connection, "run_params", key, params, "log what changes as a metric or tag")


def add_properties(connection: sqlite3.Connection, key: int, properties: Mapping[str, str]) -> None:
    """Add properties, which can never change. Raises ImmutableError."""
    _add(connection, "run_properties", key, properties, "use a tag for what changes")


def set_tags(connection: sqlite3.Connection, key: int, tags: Mapping[str, str]) -> None:
    """Add or replace tags. Raises ImmutableError where they become too many."""
    connection.executemany(
        "INSERT OR REPLACE INTO run_tags VALUES (?, ?, ?)", [(key, *pair) for pair in tags.items()]
    )
    _check_count(connection, "run_tags", key)


def remove_tags(connection: sqlite3.Connection, key: int, tags: Sequence[str]) -> None:
    """Removing one that is not there does nothing."""
    connection.executemany(
        "DELETE FROM run_tags WHERE run = ? AND key = ?", [(key, tag) for tag in tags]
    )


def _add(
    connection: sqlite3.Connection, table: Pairs, key: int, pairs: Mapping[str, str], advice: str
) -> None:
    for name, value in pairs.items():
        row = connection.execute(
            f"SELECT value FROM {table} WHERE run = ? AND key = ?", (key, name)
        ).fetchone()
        if row is None:
            connection.execute(f"INSERT INTO {table} VALUES (?, ?, ?)", (key, name, value))
        elif row[0] != value:
            raise ImmutableError(
                f"{_WHAT[table]} '{name}' is {ascii(row[0])[:80]} and cannot become"
                f" {ascii(value)[:80]}; {advice}"
            )
    _check_count(connection, table, key)


def _check_count(connection: sqlite3.Connection, table: Pairs, key: int) -> None:
    row = connection.execute(f"SELECT count(*) FROM {table} WHERE run = ?", (key,)).fetchone()
    if row[0] > MAX_PAIRS:
        raise ImmutableError(f"a run has at most {MAX_PAIRS} ({_WHAT[table]})")


def _pairs(connection: sqlite3.Connection, table: Pairs, listed: str) -> dict[int, dict[str, str]]:
    found: dict[int, dict[str, str]] = {}
    rows = connection.execute(
        f"SELECT run, key, value FROM {table} WHERE run IN ({listed}) ORDER BY run, key"
    )
    rows.row_factory = None
    for run, key, value in rows:
        found.setdefault(run, {})[key] = value
    return found


def link_model(connection: sqlite3.Connection, id: str, name: str, version: int) -> None:
    """Within the transaction that registers the model: it comes from this run. Raises
    NotFoundError."""
    connection.execute(
        "INSERT INTO model_runs VALUES (?, ?, ?)", (name, version, key_of(connection, id))
    )
