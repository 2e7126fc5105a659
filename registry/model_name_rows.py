"""Names of models and their versions as rows: how a record is read from the database."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from registry import aliases, model_origins
from registry.errors import NotFoundError
from registry.model_origins import Origin
from registry.model_search import MADE_MS
from registry.models import find_version, size_of_model
from registry.records import Model


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
        return ms_of(self.model.created_at) if self.origin is None else self.origin.created_ms


@dataclass(frozen=True, slots=True)
class NameRecord:
    """A name; ``versions`` with the oldest first, or the newest of each stage alone."""

    name: str
    description: str
    created_ms: int
    updated_ms: int
    tags: Mapping[str, str] = field(default_factory=dict)
    aliases: Mapping[str, int] = field(default_factory=dict)
    versions: tuple[VersionRecord, ...] = ()


def is_there(connection: sqlite3.Connection, name: str) -> bool:
    """Whether a model has this name, with a version or without one."""
    row = connection.execute(
        "SELECT EXISTS (SELECT 1 FROM model_names WHERE name = ?1)"
        " OR EXISTS (SELECT 1 FROM model_versions WHERE name = ?1)",
        (name,),
    ).fetchone()
    return bool(row[0])


def check(connection: sqlite3.Connection, name: str) -> None:
    """Raises NotFoundError."""
    if not is_there(connection, name):
        raise NotFoundError(f"there is no model {ascii(name)[:80]}; see inferry model list")


def read(connection: sqlite3.Connection, name: str) -> NameRecord:
    """With all versions. Raises NotFoundError."""
    rows = connection.execute(
        "SELECT version FROM model_versions WHERE name = ? ORDER BY version", (name,)
    ).fetchall()
    return _record(connection, name, [row[0] for row in rows])


def newest(connection: sqlite3.Connection, name: str) -> NameRecord:
    """With the newest version of each stage. Raises NotFoundError."""
    unstaged = connection.execute(
        "SELECT v.version FROM model_versions v LEFT JOIN model_origins o"
        " ON o.name = v.name AND o.version = v.version"
        " WHERE v.name = ? AND ifnull(o.stage, 'None') = 'None' ORDER BY v.version DESC LIMIT 1",
        (name,),
    ).fetchall()
    staged = [
        connection.execute(
            "SELECT max(version) FROM model_origins WHERE name = ? AND stage = ?", (name, stage)
        ).fetchone()
        for stage in model_origins.STAGES[1:]
    ]
    numbers = {row[0] for row in (*unstaged, *staged)} - {None}
    return _record(connection, name, sorted(numbers))


def _record(connection: sqlite3.Connection, name: str, numbers: Sequence[int]) -> NameRecord:
    check(connection, name)
    versions = tuple(version(connection, name, number) for number in numbers)
    row = connection.execute(
        "SELECT description, created_ms, updated_ms FROM model_names WHERE name = ?", (name,)
    ).fetchone()
    if row is None:
        began = _began_ms(connection, name)
        row = ("", began, began)
    description, created_ms, updated_ms = row
    tags = connection.execute(
        "SELECT key, value FROM model_name_tags WHERE name = ? ORDER BY key", (name,)
    )
    return NameRecord(
        name,
        description,
        created_ms,
        max(updated_ms, versions[-1].created_ms) if versions else updated_ms,
        {tag[0]: tag[1] for tag in tags},
        aliases.read(connection, name),
        versions,
    )


def _began_ms(connection: sqlite3.Connection, name: str) -> int:
    """When the first of its versions was made."""
    row = connection.execute(
        f"SELECT {MADE_MS} FROM model_versions v LEFT JOIN model_origins o"
        " ON o.name = v.name AND o.version = v.version"
        " WHERE v.name = ? ORDER BY v.version LIMIT 1",
        (name,),
    ).fetchone()
    return int(row[0])


def version(connection: sqlite3.Connection, name: str, number: int) -> VersionRecord:
    """One version, which is there."""
    run = connection.execute(
        "SELECT r.id FROM model_runs m JOIN runs r ON r.key = m.run"
        " WHERE m.name = ? AND m.version = ?",
        (name, number),
    ).fetchone()
    return VersionRecord(
        find_version(connection, f"{name}:{number}"),
        None if run is None else str(run[0]),
        model_origins.read(connection, name, number),
        aliases.of_version(connection, name, number),
    )


def size_of(found: NameRecord) -> int:
    """About, as a document."""
    pairs = 100 * (len(found.tags) + len(found.aliases))
    return 1000 + pairs + sum(size_of_model(each.model) for each in found.versions)


def ms_of(created_at: str) -> int:
    """A time as the registry writes it, in ms."""
    return int(datetime.fromisoformat(created_at).timestamp()) * 1000
