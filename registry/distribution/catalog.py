"""Which repositories there are, and which tags they have."""

from __future__ import annotations

import sqlite3

from registry.database import Database
from registry.distribution.errors import Code, DistributionError
from registry.distribution.grammar import is_repository, is_version
from registry.distribution.pages import Page, PageQuery, page


class Catalog:
    """The repositories of a workspace."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def repositories(self, query: PageQuery) -> Page:
        """Names of images that are valid repositories, and what clients pushed to."""
        with self._database.read() as connection:
            rows = connection.execute(
                "SELECT DISTINCT repository FROM repository_manifests WHERE repository > ?",
                (query.last,),
            ).fetchall()
        return page((row[0] for row in rows if is_repository(row[0])), query)

    def tags(self, repository: str, query: PageQuery) -> Page:
        """Its tags. Raises NAME_UNKNOWN."""
        with self._database.read() as connection:
            check_known(connection, repository)
            pushed = connection.execute(
                "SELECT tag FROM manifest_tags WHERE repository = ?", (repository,)
            ).fetchall()
            versions = connection.execute(
                "SELECT version FROM image_versions WHERE name = ? AND state = 'succeeded'",
                (repository,),
            ).fetchall()
        found = {row[0] for row in pushed} | {str(row[0]) for row in versions}
        return page(found | ({"latest"} if versions else set()), query)


def check_known(connection: sqlite3.Connection, repository: str) -> None:
    """Raises NAME_UNKNOWN when nothing is in the repository."""
    row = connection.execute(
        "SELECT 1 FROM repository_manifests WHERE repository = ? LIMIT 1", (repository,)
    ).fetchone()
    if row is None:
        raise DistributionError(Code.NAME_UNKNOWN, "there is no such repository", repository)


def has_versions(connection: sqlite3.Connection, repository: str) -> bool:
    """Whether images of that name are or were made here: numbers and ``latest`` are theirs."""
    row = connection.execute("SELECT 1 FROM images WHERE name = ?", (repository,)).fetchone()
    return row is not None


def find_tag(connection: sqlite3.Connection, repository: str, tag: str) -> str | None:
    """The digest of what ``tag`` means now."""
    row = None
    if is_version(tag):
        row = connection.execute(
            "SELECT digest FROM image_versions WHERE name = ?1 AND state = 'succeeded'"
            " AND (?2 = 'latest' OR CAST(version AS TEXT) = ?2) ORDER BY version DESC LIMIT 1",
            (repository, tag),
        ).fetchone()
    if row is None:  # no image of that version: one that was pushed before the name was an image's
        row = connection.execute(
            "SELECT digest FROM manifest_tags WHERE repository = ? AND tag = ?", (repository, tag)
        ).fetchone()
    return None if row is None else str(row[0])
