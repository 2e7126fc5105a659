"""Names of models: what is said of all versions of a name, and the versions with all that MLflow's
clients ask of them.

A name can be there before its first version is. One that never was described has an empty
description, and began with its first version.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence

from registry import aliases, model_name_rows, model_origins, names
from registry.database import Database
from registry.errors import InUseError, InvalidNameError, NameTakenError
from registry.model_name_rows import NameRecord, VersionRecord
from registry.model_origins import Origin
from registry.model_search import NAMES, VERSIONS
from registry.models import find_version, size_of_model
from registry.pages import Page, Window
from registry.tracking import record_search
from registry.tracking.now import NowMs, now_ms

Names = list[NameRecord]


class ModelNames:
    """Those of one workspace."""

    def __init__(self, database: Database, clock_ms: NowMs = now_ms) -> None:
        self._database = database
        self._now_ms = clock_ms

    def create(
        self, name: str, *, description: str = "", tags: Mapping[str, str] | None = None
    ) -> NameRecord:
        """A new name. Raises InvalidNameError, NameTakenError."""
        names.check_name(name, "model name")
        names.check_text(description, "the description")
        checked = names.check_pairs(tags or {}, "tag")
        now = self._now_ms()
        with self._database.write() as connection:
            if model_name_rows.is_there(connection, name):
                raise NameTakenError(f"there is a model {name!a} already")
            _ensure(connection, name, now)
            connection.execute(
                "UPDATE model_names SET description = ?, created_ms = ?, updated_ms = ?"
                " WHERE name = ?",
                (description, now, now, name),
            )
            _set_tags(connection, name, checked)
            return model_name_rows.read(connection, name)

    def get(self, name: str) -> NameRecord:
        """Raises NotFoundError."""
        with self._database.read() as connection:
            return model_name_rows.read(connection, name)

    def newest(self, name: str) -> NameRecord:
        """The name, of its versions the newest of each stage alone. Raises NotFoundError."""
        with self._database.read() as connection:
            return model_name_rows.newest(connection, name)

    def search(
        self,
        *,
        filter: str = "",
        order_by: Sequence[str] = (),
        limit: int = 100,
        token: str | None = None,
    ) -> Page[NameRecord]:
        """Names, page by page, each as ``newest`` has it: filter and orders in MLflow's words, by
        name without one. Raises InvalidNameError."""
        search = record_search.plan(
            NAMES, filter=filter, order_by=order_by, limit=limit, token=token
        )
        with self._database.read() as connection:
            return record_search.find(
                connection,
                NAMES,
                search,
                lambda row: model_name_rows.newest(connection, row[0]),
                model_name_rows.size_of,
            )

    def search_versions(
        self,
        *,
        filter: str = "",
        order_by: Sequence[str] = (),
        limit: int = 1000,
        token: str | None = None,
    ) -> Page[VersionRecord]:
        """Versions of all names, page by page, as ``search``; what changed last first."""
        search = record_search.plan(
            VERSIONS, filter=filter, order_by=order_by, limit=limit, token=token
        )
        with self._database.read() as connection:
            return record_search.find(
                connection,
                VERSIONS,
                search,
                lambda row: model_name_rows.version(connection, row[0], row[1]),
                lambda found: size_of_model(found.model),
            )

    def versions(self, name: str, *, offset: int = 0, limit: int = 1000) -> Window[VersionRecord]:
        """Those of one name, the newest first, from number ``offset`` on. Raises NotFoundError."""
        with self._database.read() as connection:
            model_name_rows.check(connection, name)
            rows = connection.execute(
                "SELECT version FROM model_versions WHERE name = ? ORDER BY version DESC"
                " LIMIT ? OFFSET ?",
                (name, limit, offset),
            ).fetchall()
            counted = connection.execute(
                "SELECT count(*) FROM model_versions WHERE name = ?", (name,)
            ).fetchone()
            return Window(
                tuple(model_name_rows.version(connection, name, row[0]) for row in rows), counted[0]
            )

    def list(self) -> Names:
        """All names, by name."""
        with self._database.read() as connection:
            rows = connection.execute(
                "SELECT name FROM model_names UNION SELECT name FROM model_versions ORDER BY name"
            ).fetchall()
            return [model_name_rows.read(connection, row[0]) for row in rows]

    def describe(self, name: str, description: str) -> NameRecord:
        """Replace the description; gives the name as ``newest``. Raises NotFoundError,
        InvalidNameError."""
        names.check_text(description, "the description")
        now = self._now_ms()
        with self._database.write() as connection:
            model_name_rows.check(connection, name)
            _ensure(connection, name, now)
            connection.execute(
                "UPDATE model_names SET description = ?, updated_ms = ? WHERE name = ?",
                (description, now, name),
            )
            return model_name_rows.newest(connection, name)

    def tag(
        self, name: str, *, set: Mapping[str, str] | None = None, remove: tuple[str, ...] = ()
    ) -> None:
        """Set and remove tags; removing one that is not there does nothing. Raises NotFoundError,
        InvalidNameError."""
        checked = names.check_pairs(set or {}, "tag")
        with self._database.write() as connection:
            model_name_rows.check(connection, name)
            _ensure(connection, name, self._now_ms())
            connection.executemany(
                "DELETE FROM model_name_tags WHERE name = ? AND key = ?",
                [(name, key) for key in remove],
            )
            _set_tags(connection, name, checked)

    def delete(self, name: str) -> None:
        """Delete the name with all its versions, whose numbers are never used again. Raises
        NotFoundError, and InUseError while an image has one of them or an alias means one."""
        with self._database.write() as connection:
            model_name_rows.check(connection, name)
            images = connection.execute(
                "SELECT DISTINCT name, version FROM image_models WHERE model = ?"
                " ORDER BY name, version",
                (name,),
            ).fetchall()
            if images:
                raise InUseError(f"model {name}", [f"{row[0]}:{row[1]}" for row in images])
            meant = aliases.read(connection, name)
            if meant:
                raise InUseError(f"model {name}", tuple(meant), "alias")
            connection.execute("DELETE FROM model_versions WHERE name = ?", (name,))
            connection.execute("DELETE FROM model_names WHERE name = ?", (name,))

    def version(self, name: str, version: int) -> VersionRecord:
        """Raises NotFoundError."""
        with self._database.read() as connection:
            aliases.check_version(connection, name, version)
            return model_name_rows.version(connection, name, version)

    def set_stage(self, name: str, version: int, stage: str, *, is_alone: bool) -> None:
        """MLflow's old stages; with ``is_alone`` the others in this stage are archived. Raises
        NotFoundError, InvalidNameError."""
        known = {known.lower(): known for known in model_origins.STAGES}
        if stage.lower() not in known:
            raise InvalidNameError(f"{stage!a} is no stage; known: {list(known.values())}")
        now = self._now_ms()
        with self._database.write() as connection:
            aliases.check_version(connection, name, version)
            model = find_version(connection, f"{name}:{version}")
            if model_origins.read(connection, name, version) is None:
                Origin("", "", model_name_rows.ms_of(model.created_at)).insert(
                    connection, name, version
                )
            if is_alone:
                connection.execute(
                    "UPDATE model_origins SET stage = 'Archived', updated_ms = ?"
                    " WHERE name = ? AND stage = ? AND version <> ?",
                    (now, name, known[stage.lower()], version),
                )
            connection.execute(
                "UPDATE model_origins SET stage = ?, updated_ms = ? WHERE name = ? AND version = ?",
                (known[stage.lower()], now, name, version),
            )

    def touch(self, name: str, version: int) -> None:
        """Its description has changed now."""
        with self._database.write() as connection:
            connection.execute(
                "UPDATE model_origins SET updated_ms = ? WHERE name = ? AND version = ?",
                (self._now_ms(), name, version),
            )


def _ensure(connection: sqlite3.Connection, name: str, now: int) -> None:
    """A row that says something of the name; it began with its first version."""
    first = connection.execute(
        "SELECT created_at FROM model_versions WHERE name = ? ORDER BY version LIMIT 1", (name,)
    ).fetchone()
    began = now if first is None else model_name_rows.ms_of(first[0])
    connection.execute("INSERT OR IGNORE INTO models (name) VALUES (?)", (name,))
    connection.execute(
        "INSERT OR IGNORE INTO model_names VALUES (?, '', ?, ?)", (name, began, began)
    )


def _set_tags(connection: sqlite3.Connection, name: str, tags: Mapping[str, str]) -> None:
    connection.executemany(
        "INSERT OR REPLACE INTO model_name_tags VALUES (?, ?, ?)",
        [(name, *pair) for pair in tags.items()],
    )
