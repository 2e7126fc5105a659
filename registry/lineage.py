"""What came from what: run -> model -> image -> deployment, and back.

workspace.lineage.of_model("digits:1").used_by  # image digits:1, deployment web
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal

from registry import aliases, names
from registry.database import Database
from registry.errors import NotFoundError
from registry.tracking import run_rows

Kind = Literal["run", "model", "image", "deployment"]


@dataclass(frozen=True, slots=True, order=True)
class Link:
    """One thing that another comes from or is used by. ``name`` is ``name:version``, of a
    deployment its name, of a run ``experiment:number``. ``aliases`` of a model are those that mean
    this version now."""

    kind: Kind
    name: str
    aliases: tuple[str, ...] = field(default=(), compare=False)

    def __str__(self) -> str:
        meant = f" ({', '.join(f'@{alias}' for alias in self.aliases)})" if self.aliases else ""
        return f"{self.kind} {self.name}{meant}"


@dataclass(frozen=True, slots=True)
class Lines:
    """All that a thing comes from and all that is used by, near and far; the nearest first."""

    came_from: tuple[Link, ...] = ()
    used_by: tuple[Link, ...] = ()


class Lineage:
    """Of the things of one workspace. Each method raises NotFoundError."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def of_run(self, ref: str) -> Lines:
        """The models, images and deployments that there are because of it."""
        with self._database.read() as connection:
            key = run_rows.find_key(connection, ref)
            models = _models_of_runs(connection, [key])
            images = _images_of_models(connection, models)
            users = _users(connection, images)
            made = _model_links(connection, models)
        return Lines((), (*made, *_links("image", images), *users))

    def of_model(self, ref: str) -> Lines:
        """``name:version``, ``name@alias``, or the latest version."""
        with self._database.read() as connection:
            models = [_version(connection, "model_versions", ref, "model")]
            images = _images_of_models(connection, models)
            users = _users(connection, images)
            return Lines(_runs(connection, models), (*_links("image", images), *users))

    def of_image(self, ref: str) -> Lines:
        """``name:version``, or the latest version."""
        with self._database.read() as connection:
            images = [_version(connection, "image_versions", ref, "image")]
            return Lines(_above(connection, images), _users(connection, images))

    def of_deployment(self, name: str) -> Lines:
        """Of all revisions that it can go back to."""
        with self._database.read() as connection:
            rows = connection.execute(
                "SELECT DISTINCT image, image_version FROM deployment_revisions"
                " WHERE deployment = ? ORDER BY revision DESC",
                (name,),
            )
            images = [(row[0], row[1]) for row in rows]
            return Lines((*_links("image", images), *_above(connection, images)), ())


Version = tuple[str, int]


def _version(connection: sqlite3.Connection, table: str, ref: str, what: str) -> Version:
    reference = names.parse_reference(ref, what)
    if what == "model":
        reference = aliases.resolved(connection, reference)
    row = connection.execute(
        f"SELECT name, version FROM {table} WHERE name = ?1 AND (?2 IS NULL OR version = ?2)"
        " ORDER BY version DESC LIMIT 1",
        (reference.name, reference.version),
    ).fetchone()
    if row is None:
        raise NotFoundError(f"there is no {what} {reference}; see inferry {what} list")
    return row["name"], row["version"]


def _above(connection: sqlite3.Connection, images: Iterable[Version]) -> tuple[Link, ...]:
    models = _each(
        connection,
        "SELECT model, model_version FROM image_models WHERE name = ? AND version = ?",
        images,
    )
    return (*_model_links(connection, models), *_runs(connection, models))


def _runs(connection: sqlite3.Connection, models: Iterable[Version]) -> tuple[Link, ...]:
    runs = _each(
        connection,
        "SELECT e.name, r.number FROM model_runs m JOIN runs r ON r.key = m.run"
        " JOIN experiments e ON e.id = r.experiment WHERE m.name = ? AND m.version = ?",
        models,
    )
    return _links("run", runs)


def _models_of_runs(connection: sqlite3.Connection, keys: Iterable[int]) -> list[Version]:
    query = "SELECT name, version FROM model_runs WHERE run = ? ORDER BY name, version"
    return [(row[0], row[1]) for key in keys for row in connection.execute(query, (key,))]


def _images_of_models(connection: sqlite3.Connection, models: Iterable[Version]) -> list[Version]:
    return _each(
        connection,
        "SELECT name, version FROM image_models WHERE model = ? AND model_version = ?"
        " ORDER BY name, version",
        models,
    )


def _model_links(connection: sqlite3.Connection, models: Iterable[Version]) -> tuple[Link, ...]:
    return tuple(
        Link("model", f"{name}:{version}", _meant(connection, name, version))
        for name, version in models
    )


def _meant(connection: sqlite3.Connection, name: str, version: int) -> tuple[str, ...]:
    known = aliases.read(connection, name)
    return tuple(alias for alias, number in known.items() if number == version)


def _users(connection: sqlite3.Connection, images: Iterable[Version]) -> tuple[Link, ...]:
    query = "SELECT user FROM image_users WHERE name = ? AND version = ? ORDER BY user"
    found = [row[0] for image in images for row in connection.execute(query, image)]
    return tuple(Link("deployment", name) for name in dict.fromkeys(found))


def _each(connection: sqlite3.Connection, query: str, given: Iterable[Version]) -> list[Version]:
    found = [(row[0], row[1]) for each in given for row in connection.execute(query, each)]
    return list(dict.fromkeys(found))


def _links(kind: Kind, versions: Iterable[Version]) -> tuple[Link, ...]:
    return tuple(Link(kind, f"{name}:{version}") for name, version in versions)
