"""Names of models: what is said of all versions of a name, and the versions with all that MLflow's
clients ask of them.

A name can be there before its first version is. One that never was described has an empty
description, and began with its first version.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from registry import aliases, model_origins, names
from registry.database import Database
from registry.errors import InUseError, InvalidNameError, NameTakenError, NotFoundError
from registry.model_origins import Origin
from registry.models import find_version
from registry.records import Model
from registry.tracking.now import NowMs, now_ms


@dataclass(frozen=True, slots=True)
class VersionRecord:
    """One version: the model, the id of the run that it comes from, where it said it comes from,
    and the aliases that mean it."""

    model: Model
    run: str | None
    origin: Origin | None
    aliases: tuple[str, ...]

    @property
    def created_ms(self) -> int:
        """When it was registered."""
        return _ms(self.model.created_at) if self.origin is None else self.origin.created_ms


@dataclass(frozen=True, slots=True)
class NameRecord:
    """A name; ``versions`` with the oldest first."""

    name: str
    description: str
    created_ms: int
    updated_ms: int
    tags: Mapping[str, str] = field(default_factory=dict)
    aliases: Mapping[str, int] = field(default_factory=dict)
    versions: tuple[VersionRecord, ...] = ()


Versions = list[VersionRecord]
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
            if _is_there(connection, name):
                raise NameTakenError(f"there is a model {name!a} already")
            _ensure(connection, name, now)
            connection.execute(
                "UPDATE model_names SET description = ?, created_ms = ?, updated_ms = ?"
                " WHERE name = ?",
                (description, now, now, name),
            )
            _set_tags(connection, name, checked)
            return _read(connection, name)

    def get(self, name: str) -> NameRecord:
        """Raises NotFoundError."""
        with self._database.read() as connection:
            return _read(connection, name)

    def list(self) -> Names:
        """All names, by name."""
        with self._database.read() as connection:
            rows = connection.execute(
                "SELECT name FROM model_names UNION SELECT name FROM model_versions ORDER BY name"
            ).fetchall()
            return [_read(connection, row[0]) for row in rows]

    def describe(self, name: str, description: str) -> NameRecord:
        """Replace the description. Raises NotFoundError, InvalidNameError."""
        names.check_text(description, "the description")
        now = self._now_ms()
        with self._database.write() as connection:
            _check(connection, name)
            _ensure(connection, name, now)
            connection.execute(
                "UPDATE model_names SET description = ?, updated_ms = ? WHERE name = ?",
                (description, now, name),
            )
            return _read(connection, name)

    def tag(
        self, name: str, *, set: Mapping[str, str] | None = None, remove: tuple[str, ...] = ()
    ) -> None:
        """Set and remove tags; removing one that is not there does nothing. Raises NotFoundError,
        InvalidNameError."""
        checked = names.check_pairs(set or {}, "tag")
        with self._database.write() as connection:
            _check(connection, name)
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
            _check(connection, name)
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
            return _version(connection, name, version, aliases.read(connection, name))

    def versions(self) -> Versions:
        """All versions of all names, by name and version."""
        return [version for name in self.list() for version in name.versions]

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
                Origin("", "", _ms(model.created_at)).insert(connection, name, version)
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


def _is_there(connection: sqlite3.Connection, name: str) -> bool:
    row = connection.execute(
        "SELECT EXISTS (SELECT 1 FROM model_names WHERE name = ?1)"
        " OR EXISTS (SELECT 1 FROM model_versions WHERE name = ?1)",
        (name,),
    ).fetchone()
    return bool(row[0])


def _check(connection: sqlite3.Connection, name: str) -> None:
    if not _is_there(connection, name):
        raise NotFoundError(f"there is no model {ascii(name)[:80]}; see inferry model list")


def _ensure(connection: sqlite3.Connection, name: str, now: int) -> None:
    """A row that says something of the name; it began with its first version."""
    first = connection.execute(
        "SELECT created_at FROM model_versions WHERE name = ? ORDER BY version LIMIT 1", (name,)
    ).fetchone()
    began = now if first is None else _ms(first[0])
    connection.execute("INSERT OR IGNORE INTO models (name) VALUES (?)", (name,))
    connection.execute(
        "INSERT OR IGNORE INTO model_names VALUES (?, '', ?, ?)", (name, began, began)
    )


def _set_tags(connection: sqlite3.Connection, name: str, tags: Mapping[str, str]) -> None:
    connection.executemany(
        "INSERT OR REPLACE INTO model_name_tags VALUES (?, ?, ?)",
        [(name, *pair) for pair in tags.items()],
    )


def _read(connection: sqlite3.Connection, name: str) -> NameRecord:
    _check(connection, name)
    meant = aliases.read(connection, name)
    numbers = connection.execute(
        "SELECT version FROM model_versions WHERE name = ? ORDER BY version", (name,)
    ).fetchall()
    versions = tuple(_version(connection, name, row[0], meant) for row in numbers)
    row = connection.execute(
        "SELECT description, created_ms, updated_ms FROM model_names WHERE name = ?", (name,)
    ).fetchone()
    made = [version.created_ms for version in versions]
    description, created_ms, updated_ms = row or ("", made[0], made[0])
    tags = connection.execute(
        "SELECT key, value FROM model_name_tags WHERE name = ? ORDER BY key", (name,)
    )
    return NameRecord(
        name,
        description,
        created_ms,
        max(updated_ms, *made) if made else updated_ms,
        {tag[0]: tag[1] for tag in tags},
        meant,
        versions,
    )


def _version(
    connection: sqlite3.Connection, name: str, version: int, meant: Mapping[str, int]
) -> VersionRecord:
    run = connection.execute(
        "SELECT r.id FROM model_runs m JOIN runs r ON r.key = m.run"
        " WHERE m.name = ? AND m.version = ?",
        (name, version),
    ).fetchone()
    return VersionRecord(
        find_version(connection, f"{name}:{version}"),
        None if run is None else str(run[0]),
        model_origins.read(connection, name, version),
        tuple(alias for alias, number in meant.items() if number == version),
    )


def _ms(created_at: str) -> int:
    return int(datetime.fromisoformat(created_at).timestamp()) * 1000
