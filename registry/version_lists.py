"""Lists of what has names and versions, models and images: all, page by page, or a window.

What is asked for is found in the database, which gives the keys in order along an index; only the
records of the page are read. ``statement`` is pure.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from registry import names
from registry.database import Database
from registry.names import TagQuery
from registry.pages import Page, Window, check_count, check_limit, key_of, token_of

T = TypeVar("T")
Key = tuple[str, int]
Bound = str | int
ALL = -1
MAX_PAGE_BYTES = 16 * 1024 * 1024
"""A page ends before its limit where its records are as large as that."""


@dataclass(frozen=True, slots=True)
class Kind:
    """What is listed, and the tables that have it."""

    noun: str
    names: str
    versions: str
    tags: str

    @property
    def nouns(self) -> str:
        """What tokens say that they are of."""
        return f"{self.noun}s"


MODELS = Kind("model", "models", "model_versions", "model_tags")
IMAGES = Kind("image", "images", "image_versions", "image_tags")


@dataclass(frozen=True, slots=True)
class Sought:
    """Which versions: of this name, of names with this ``part`` (in small letters), with all these
    tags; with ``is_latest`` only each name's newest of them. In the order of names and versions,
    with ``is_newest_first`` the versions of a name backwards."""

    name: str | None = None
    part: str = ""
    tags: tuple[TagQuery, ...] = ()
    is_latest: bool = False
    is_newest_first: bool = False


def sought(kind: Kind, name: str | None, tags: Sequence[str], latest: bool) -> Sought:
    """As a user says it. Raises InvalidNameError."""
    queries = tuple(names.parse_query(tag) for tag in tags)
    if name is not None:
        names.check_name(name, f"{kind.noun} name")
    return Sought(name, tags=queries, is_latest=latest)


class VersionLists(Generic[T]):
    """Of one kind in one workspace. ``read`` makes a record, ``size_of`` says how many bytes it is
    about."""

    def __init__(
        self,
        database: Database,
        kind: Kind,
        read: Callable[[sqlite3.Connection, sqlite3.Row], T],
        size_of: Callable[[T], int],
    ) -> None:
        self._database = database
        self._kind = kind
        self._read = read
        self._size_of = size_of

    def all(self, wanted: Sought, limit: int | None = None) -> list[T]:
        """In one view of the workspace; the first ``limit`` of them. Raises InvalidNameError."""
        check_count(limit)
        with self._database.read() as connection:
            keys = _keys(connection, self._kind, wanted, limit=ALL if limit is None else limit)
            return [self._record(connection, key) for key in keys]

    def page(self, wanted: Sought, limit: int, token: str | None) -> Page[T]:
        """At most ``limit`` that follow. Raises InvalidNameError."""
        check_limit(limit, self._kind.nouns)
        after = None if token is None else key_of(self._kind.nouns, token)
        found: list[T] = []
        size = 0
        with self._database.read() as connection:
            keys = _keys(connection, self._kind, wanted, after=after, limit=limit + 1)
            for key in keys[:limit]:
                found.append(self._record(connection, key))
                size += self._size_of(found[-1])
                if size > MAX_PAGE_BYTES:
                    break
        if len(found) == len(keys):
            return Page(tuple(found))
        return Page(tuple(found), token_of(self._kind.nouns, *keys[len(found) - 1]))

    def window(self, wanted: Sought, offset: int, limit: int) -> Window[T]:
        """``limit`` from the one with this number on, and how many there are."""
        with self._database.read() as connection:
            keys = _keys(connection, self._kind, wanted, limit=limit, offset=offset)
            sql, values = statement(self._kind, wanted)
            counted = connection.execute(f"SELECT count(*) FROM ({sql})", values).fetchone()
            return Window(tuple(self._record(connection, key) for key in keys), counted[0])

    def _record(self, connection: sqlite3.Connection, key: Key) -> T:
        row = connection.execute(
            f"SELECT * FROM {self._kind.versions} WHERE name = ? AND version = ?", key
        ).fetchone()
        return self._read(connection, row)


def statement(
    kind: Kind,
    wanted: Sought,
    *,
    after: Key | None = None,
    limit: int = ALL,
    offset: int = 0,
) -> tuple[str, list[Bound]]:
    """Gives the keys, names and versions, that stand after ``after``."""
    values: list[Bound] = []
    driver, where, bounds = _versions(kind, wanted)
    if wanted.is_latest:
        newest = (
            f"(SELECT v.version FROM {driver} WHERE {' AND '.join(['v.name = m.name', *where])}"
            " ORDER BY v.version DESC LIMIT 1)"
        )
        values += bounds
        outer, outer_values = _names("m", wanted, after and after[:1])
        values += outer_values
        rows = f"SELECT m.name AS name, {newest} AS version FROM {kind.names} m WHERE {outer}"
        sql = f"SELECT name, version FROM ({rows}) WHERE version IS NOT NULL ORDER BY name"
    else:
        inner, inner_values = _names("v", wanted, after)
        values += inner_values + bounds
        order = "v.name, v.version" + (" DESC" if wanted.is_newest_first else "")
        sql = (
            f"SELECT v.name, v.version FROM {driver}"
            f" WHERE {' AND '.join([inner, *where])} ORDER BY {order}"
        )
    return f"{sql} LIMIT ? OFFSET ?", [*values, limit, offset]


def _versions(kind: Kind, wanted: Sought) -> tuple[str, list[str], list[Bound]]:
    """Where versions with these tags are, called ``v``: with a value, found by the index of the
    tags' values."""
    tags = sorted(wanted.tags, key=lambda tag: tag.value is None)
    driver, where, values = f"{kind.versions} v", [], list[Bound]()
    for number, tag in enumerate(tags):
        if number == 0 and tag.value is not None:
            driver = f"{kind.tags} v"
            where.append("v.key = ? AND v.value = ?")
        else:
            value = "" if tag.value is None else " AND t.value = ?"
            where.append(
                f"EXISTS (SELECT 1 FROM {kind.tags} t WHERE t.name = v.name"
                f" AND t.version = v.version AND t.key = ?{value})"
            )
        values += [tag.key] if tag.value is None else [tag.key, tag.value]
    return driver, where, values


def _names(alias: str, wanted: Sought, after: tuple[Bound, ...] | None) -> tuple[str, list[Bound]]:
    where, values = ["1"], list[Bound]()
    if wanted.name is not None:
        where.append(f"{alias}.name = ?")
        values.append(wanted.name)
    if wanted.part:
        where.append(f"instr(lower({alias}.name), ?)")
        values.append(wanted.part)
    if after is not None:
        columns = (f"{alias}.name", f"{alias}.version")[: len(after)]
        where.append(f"({', '.join(columns)}) > ({', '.join('?' * len(after))})")
        values += after
    return " AND ".join(where), values


def _keys(
    connection: sqlite3.Connection,
    kind: Kind,
    wanted: Sought,
    *,
    after: Key | None = None,
    limit: int = ALL,
    offset: int = 0,
) -> list[Key]:
    sql, values = statement(kind, wanted, after=after, limit=limit, offset=offset)
    return [(row[0], row[1]) for row in connection.execute(sql, values)]
