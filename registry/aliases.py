"""Aliases: names such as ``champion`` that mean one version of a model, until they mean another.

aliases.set("digits", "champion", 3, who="ada")
aliases.history("digits", "champion")  # every change that there ever was, by whom

A version that an alias means cannot be deleted.
"""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass

from registry import names
from registry.database import Database
from registry.errors import InvalidNameError, NotFoundError
from registry.pages import Page, check_limit, key_of, page_of
from registry.tracking.now import NowMs, now_ms

MAX_WHO_CHARS = 200
CHANGES = "changes of aliases"
"""What page tokens say that they are of."""


@dataclass(frozen=True, slots=True)
class AliasChange:
    """From ``at_ms`` on the alias meant ``version``, or nothing where that is None."""

    model: str
    alias: str
    version: int | None
    at_ms: int
    who: str


Changes = list[AliasChange]


class Aliases:
    """Those of the models of one workspace."""

    def __init__(self, database: Database, clock_ms: NowMs = now_ms) -> None:
        self._database = database
        self._now_ms = clock_ms

    def set(self, model: str, alias: str, version: int, *, who: str = "") -> None:
        """From now on ``alias`` means this version. Raises InvalidNameError, NotFoundError."""
        check_alias(alias)
        with self._database.write() as connection:
            check_version(connection, model, version)
            if find(connection, model, alias) == version:
                return
            connection.execute(
                "INSERT OR REPLACE INTO model_aliases VALUES (?, ?, ?)", (model, alias, version)
            )
            self._remember(connection, model, alias, version, who)

    def remove(self, model: str, alias: str, *, who: str = "") -> None:
        """From now on it means nothing; removing one that is not there does nothing. Raises
        NotFoundError where there is no such model."""
        with self._database.write() as connection:
            _check_model(connection, model)
            if find(connection, model, alias) is None:
                return
            connection.execute(
                "DELETE FROM model_aliases WHERE model = ? AND alias = ?", (model, alias)
            )
            self._remember(connection, model, alias, None, who)

    def get(self, model: str, alias: str) -> int:
        """The version that it means. Raises NotFoundError."""
        with self._database.read() as connection:
            version = find(connection, model, alias)
        if version is None:
            raise NotFoundError(f"the model {ascii(model)[:80]} has no alias {ascii(alias)[:80]}")
        return version

    def of(self, model: str) -> dict[str, int]:
        """All aliases of a model, by name."""
        with self._database.read() as connection:
            return read(connection, model)

    def history(self, model: str, alias: str | None = None) -> Changes:
        """All changes of the model's aliases, or of one of them, the oldest first; those of a model
        that is deleted, too."""
        with self._database.read() as connection:
            rows = connection.execute(
                "SELECT model, alias, version, at_ms, who FROM alias_changes"
                " WHERE model = ?1 AND (?2 IS NULL OR alias = ?2) ORDER BY id",
                (model, alias),
            )
            return [AliasChange(*row) for row in rows]

    def history_page(
        self, model: str, alias: str | None = None, *, limit: int, token: str | None = None
    ) -> Page[AliasChange]:
        """At most ``limit`` of ``history`` that follow. Raises InvalidNameError."""
        check_limit(limit, CHANGES)
        after = 0 if token is None else key_of(CHANGES, token)[1]
        with self._database.read() as connection:
            rows = connection.execute(
                "SELECT id, model, alias, version, at_ms, who FROM alias_changes WHERE model = ?1"
                " AND (?2 IS NULL OR alias = ?2) AND id > ?3 ORDER BY id LIMIT ?4",
                (model, alias, after, limit + 1),
            ).fetchall()
        page = page_of(CHANGES, rows, limit, lambda row: ("", row["id"]))
        return Page(tuple(AliasChange(*row[1:]) for row in page.items), page.next_token)

    def _remember(
        self,
        connection: sqlite3.Connection,
        model: str,
        alias: str,
        version: int | None,
        who: str,
    ) -> None:
        connection.execute(
            "INSERT INTO alias_changes (model, alias, version, at_ms, who) VALUES (?, ?, ?, ?, ?)",
            (model, alias, version, self._now_ms(), who[:MAX_WHO_CHARS]),
        )


def check_alias(alias: str) -> str:
    """``alias`` itself. It is no number and not ``latest``, which mean versions. Raises
    InvalidNameError."""
    names.check_name(alias, "alias")
    bare = alias.lower()
    if bare == "latest" or bare.removeprefix("v").isdigit():
        raise InvalidNameError(f"the alias {alias!a} means a version already; use another word")
    return alias


def check_version(connection: sqlite3.Connection, model: str, version: int) -> None:
    """Raises NotFoundError."""
    row = None
    if 0 < version < 2**63:  # the database has no others
        row = connection.execute(
            "SELECT 1 FROM model_versions WHERE name = ? AND version = ?", (model, version)
        ).fetchone()
    if row is None:
        raise NotFoundError(f"there is no model {ascii(model)[:80]}:{version}")


def find(connection: sqlite3.Connection, model: str, alias: str) -> int | None:
    """The version that the alias means, if any."""
    row = connection.execute(
        "SELECT version FROM model_aliases WHERE model = ? AND alias = ?", (model, alias)
    ).fetchone()
    return None if row is None else int(row[0])


def resolved(connection: sqlite3.Connection, reference: names.Reference) -> names.Reference:
    """The version that it means where it names an alias, else itself. Raises NotFoundError."""
    if reference.alias is None:
        return reference
    version = find(connection, reference.name, reference.alias)
    if version is None:
        _check_model(connection, reference.name)
        raise NotFoundError(
            f"the model {reference.name} has no alias {reference.alias}; see"
            f" inferry model alias list {reference.name}"
        )
    return names.Reference(reference.name, version)


def read(connection: sqlite3.Connection, model: str) -> dict[str, int]:
    """All aliases of a model, by name."""
    rows = connection.execute(
        "SELECT alias, version FROM model_aliases WHERE model = ? ORDER BY alias", (model,)
    )
    return {row[0]: row[1] for row in rows}


def of_version(connection: sqlite3.Connection, model: str, version: int) -> tuple[str, ...]:
    """Those that mean this version, by name."""
    rows = connection.execute(
        "SELECT alias FROM model_aliases WHERE model = ? AND version = ? ORDER BY alias",
        (model, version),
    )
    return tuple(row[0] for row in rows)


def _check_model(connection: sqlite3.Connection, model: str) -> None:
    row = connection.execute("SELECT 1 FROM models WHERE name = ?", (model,)).fetchone()
    if row is None:
        raise NotFoundError(f"there is no model {ascii(model)[:80]}; see inferry model list")
