"""Logged models, as MLflow 3 calls them: a model that a run wrote, with params, tags and metrics of
its own, before anybody registers it. Its files are files of its run, in a folder of its own.

    logged = logged_models.create(run.id, "model", params={"C": "1.0"})
    logged.folder  # logged-models/m-...
"""

from __future__ import annotations

import re
import secrets
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from registry.database import Database
from registry.errors import InvalidNameError, NotFoundError
from registry.names import check_text
from registry.pages import Page
from registry.tracking import record_search
from registry.tracking.logged_search import LOGGED, are_many, in_experiments, rows_of_many
from registry.tracking.now import NowMs
from registry.tracking.points import stored_of, value_of
from registry.tracking.records import MetricPoint, Point
from registry.tracking.run_rows import active_key_of
from registry.tracking.words import check_key, check_params, check_tags

LoggedStatus = Literal["pending", "ready", "failed"]
FOLDER = "logged-models"
MAX_TYPE_CHARS = 250
_ID = re.compile(r"m-[0-9a-f]{32}")
_COLUMNS = (
    "m.key, m.id, r.id, r.experiment, m.name, m.type, m.status, m.cause, m.step, m.created_ms,"
    " m.updated_ms"
)
_FROM = "logged_models m JOIN runs r ON r.key = m.run"


@dataclass(frozen=True, slots=True)
class LoggedModel:
    """One of them. ``step`` is that of the run when it was logged, if it was said."""

    key: int
    id: str
    run: str
    experiment_id: int
    name: str
    type: str
    status: LoggedStatus
    cause: str
    step: int | None
    created_ms: int
    updated_ms: int
    params: Mapping[str, str] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)
    metrics: Mapping[str, MetricPoint] = field(default_factory=dict)

    @property
    def folder(self) -> str:
        """Where its files are in its run."""
        return f"{FOLDER}/{self.id}"


Found = list[LoggedModel]


class LoggedModels:
    """Those of one workspace; named by their ids."""

    def __init__(
        self,
        database: Database,
        now_ms: NowMs,
        random_id: Callable[[], str] = lambda: f"m-{secrets.token_hex(16)}",
    ) -> None:
        self._database = database
        self._now_ms = now_ms
        self._random_id = random_id

    def create(
        self,
        run: str,
        name: str,
        *,
        type: str = "",
        params: Mapping[str, str] | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> LoggedModel:
        """A new one of this run, without files yet. Raises NotFoundError, InvalidNameError,
        ImmutableError."""
        check_key(name, "logged model")
        check_text(type, "the type of the model", MAX_TYPE_CHARS)
        checked_params, checked_tags = check_params(params or {}), check_tags(tags or {})
        id, now = self._random_id(), self._now_ms()
        with self._database.write() as connection:
            row = connection.execute(
                "INSERT INTO logged_models (id, run, name, type, status, created_ms, updated_ms)"
                " VALUES (?, ?, ?, ?, 'pending', ?, ?) RETURNING key",
                (id, active_key_of(connection, run), name, type, now, now),
            ).fetchone()
            _set(connection, "logged_model_params", row[0], checked_params)
            _set(connection, "logged_model_tags", row[0], checked_tags)
            return _get(connection, id)

    def get(self, id: str) -> LoggedModel:
        """Raises NotFoundError."""
        with self._database.read() as connection:
            return _get(connection, id)

    def list(self, *, experiments: Sequence[int] | None = None, name: str | None = None) -> Found:
        """The newest first; of these experiments, of this name."""
        where = ["m.is_deleted = 0", "r.is_deleted = 0"]
        if experiments is not None:
            where.append(f"r.experiment IN ({', '.join(f'{id:d}' for id in experiments)})")
        if name is not None:
            where.append("m.name = :name")
        with self._database.read() as connection:
            return _select(connection, " AND ".join(where), {"name": name or ""})

    def search(
        self,
        *,
        experiments: Sequence[int],
        filter: str = "",
        order_by: Sequence[str] = (),
        limit: int = 100,
        token: str | None = None,
    ) -> Page[LoggedModel]:
        """Those of these experiments, page by page: filter and orders in MLflow's words, the newest
        first without one. Raises InvalidNameError."""
        search = record_search.plan(
            LOGGED, filter=filter, order_by=order_by, limit=limit, token=token
        )
        where = in_experiments(experiments)
        with self._database.read() as connection:
            return record_search.find(
                connection,
                LOGGED,
                search,
                lambda row: _select(connection, "m.key = :key", {"key": row[0]})[0],
                _size_of,
                where,
                rows_of_many if are_many(connection, experiments) else None,
            )

    def of_run(self, run: str) -> Found:
        """Those of one run, the newest first."""
        with self._database.read() as connection:
            return _select(connection, "m.is_deleted = 0 AND r.id = :run", {"run": run})

    def finish(self, id: str, status: LoggedStatus, cause: str = "") -> LoggedModel:
        """Its files are there, or will not come. Raises NotFoundError."""
        check_text(cause, "the cause")
        with self._database.write() as connection:
            key = _get(connection, id).key
            connection.execute(
                "UPDATE logged_models SET status = ?, cause = ?, updated_ms = ? WHERE key = ?",
                (status, cause, self._now_ms(), key),
            )
            return _get(connection, id)

    def tag(
        self, id: str, *, set: Mapping[str, str] | None = None, remove: Sequence[str] = ()
    ) -> LoggedModel:
        """Set and remove tags. Raises NotFoundError, InvalidNameError."""
        checked = check_tags(set or {})
        with self._database.write() as connection:
            key = _get(connection, id).key
            connection.executemany(
                "DELETE FROM logged_model_tags WHERE model = ? AND key = ?",
                [(key, tag) for tag in remove],
            )
            _set(connection, "logged_model_tags", key, checked)
            return _get(connection, id)

    def add_params(self, id: str, params: Mapping[str, str]) -> None:
        """More params. Raises NotFoundError, InvalidNameError."""
        checked = check_params(params)
        with self._database.write() as connection:
            _set(connection, "logged_model_params", _get(connection, id).key, checked)

    def set_steps(self, run: str, steps: Mapping[str, int]) -> None:
        """At which step of the run each of its logged models was written. Raises NotFoundError."""
        with self._database.write() as connection:
            for id, step in steps.items():
                model = _get(connection, id)
                if model.run != run:
                    raise NotFoundError(f"the run has no logged model {ascii(id)[:80]}")
                connection.execute(
                    "UPDATE logged_models SET step = ? WHERE key = ?", (step, model.key)
                )

    def delete(self, id: str) -> None:
        """Hide it; its files stay files of its run. Raises NotFoundError."""
        with self._database.write() as connection:
            connection.execute(
                "UPDATE logged_models SET is_deleted = 1 WHERE key = ?",
                (_get(connection, id).key,),
            )


def measure(connection: sqlite3.Connection, id: str, points: Sequence[Point]) -> None:
    """Within a transaction: metrics of a model, which are valid; the one of the highest step stays.
    Of a model that is not there nothing is kept."""
    row = connection.execute("SELECT key FROM logged_models WHERE id = ?", (id,)).fetchone()
    if row is not None:
        connection.executemany(
            "INSERT INTO logged_model_metrics VALUES (?, ?, ?, ?, ?)"
            " ON CONFLICT DO UPDATE SET value = excluded.value, step = excluded.step,"
            " at_ms = excluded.at_ms WHERE (excluded.step, excluded.at_ms) >= (step, at_ms)",
            [
                (row[0], key, stored_of(value), step or 0, at_ms)
                for key, value, step, at_ms in points
            ],
        )


def check_logged_model(id: str) -> str:
    """``id`` itself. Raises InvalidNameError."""
    if not _ID.fullmatch(id):
        raise InvalidNameError(f"{ascii(id)[:60]} is no id of a logged model")
    return id


def _get(connection: sqlite3.Connection, id: str) -> LoggedModel:
    found = _select(connection, "m.is_deleted = 0 AND m.id = :id", {"id": id})
    if not found:
        raise NotFoundError(f"there is no logged model {ascii(id)[:80]}")
    return found[0]


def _select(connection: sqlite3.Connection, where: str, values: Mapping[str, str | int]) -> Found:
    rows = connection.execute(
        f"SELECT {_COLUMNS} FROM {_FROM} WHERE {where} ORDER BY m.key DESC", dict(values)
    ).fetchall()
    found = []
    for row in rows:
        metrics = connection.execute(
            "SELECT key, value, step, at_ms FROM logged_model_metrics WHERE model = ? ORDER BY key",
            (row["key"],),
        )
        found.append(
            LoggedModel(  # type: ignore[call-arg]  # the columns, in the order of the fields
                *row,
                _pairs(connection, "logged_model_params", row["key"]),
                _pairs(connection, "logged_model_tags", row["key"]),
                {m[0]: MetricPoint(value_of(m[1]), m[2], m[3]) for m in metrics},
            )
        )
    return found


def _size_of(found: LoggedModel) -> int:
    """About, as a document."""
    pairs = (found.params, found.tags)
    texts = sum(len(key) + len(value) for each in pairs for key, value in each.items())
    return 1000 + texts + 200 * len(found.metrics)


def _pairs(connection: sqlite3.Connection, table: str, key: int) -> dict[str, str]:
    rows = connection.execute(
        f"SELECT key, value FROM {table} WHERE model = ? ORDER BY key", (key,)
    )
    return {row[0]: row[1] for row in rows}


def _set(connection: sqlite3.Connection, table: str, key: int, pairs: Mapping[str, str]) -> None:
    connection.executemany(
        f"INSERT OR REPLACE INTO {table} VALUES (?, ?, ?)", [(key, *pair) for pair in pairs.items()]
    )
