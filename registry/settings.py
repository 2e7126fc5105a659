"""What a workspace has decided for all its images: kept in its database."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass

from registry import names
from registry.database import Database
from registry.errors import InvalidNameError

DEFAULT_BASE = "python:3.11-slim"
NO_BASE = "none"
"""The base of an image that is a bundle only: ``inferry serve`` runs it, no container engine."""
MAX_REFERENCE_CHARS = 4096


@dataclass(frozen=True, slots=True)
class FormatPolicy:
    """Which files models may have (registry/formats): whether any that can run code, without a word
    each time, and whether any of no known format."""

    allows_pickle: bool = False
    allows_unknown: bool = True


class Settings:
    """The settings of one workspace."""

    def __init__(self, database: Database) -> None:
        self._database = database

    @property
    def base(self) -> str:
        """The base of images that name none."""
        with self._database.read() as connection:
            row = connection.execute("SELECT value FROM settings WHERE key = 'base'").fetchone()
        return DEFAULT_BASE if row is None else str(row["value"])

    def set_base(self, reference: str) -> None:
        """Change it; ``reference`` is looked at when an image is made. Raises InvalidNameError."""
        if not reference.strip():
            raise InvalidNameError("the base is empty")
        names.check_text(reference, "the base", MAX_REFERENCE_CHARS)
        with self._database.write() as connection:
            connection.execute(
                "INSERT INTO settings (key, value) VALUES ('base', ?)"
                " ON CONFLICT (key) DO UPDATE SET value = excluded.value",
                (reference,),
            )

    @property
    def formats(self) -> FormatPolicy:
        """Which files models may have."""
        with self._database.read() as connection:
            return _formats(connection)

    def set_formats(self, policy: FormatPolicy) -> None:
        """For models that are registered from now on."""
        self.change_formats(pickle=policy.allows_pickle, unknown=policy.allows_unknown)

    def change_formats(
        self, *, pickle: bool | None = None, unknown: bool | None = None
    ) -> FormatPolicy:
        """Whether each kind is allowed from now on; None leaves it as whoever else says it, also at
        this moment. What is decided then."""
        wanted = {"pickle": pickle, "unknown": unknown}
        with self._database.write() as connection:
            connection.executemany(
                "INSERT INTO settings (key, value) VALUES (?, ?)"
                " ON CONFLICT (key) DO UPDATE SET value = excluded.value",
                [
                    (f"formats.{name}", "allow" if is_allowed else "refuse")
                    for name, is_allowed in wanted.items()
                    if is_allowed is not None
                ],
            )
            return _formats(connection)


def _formats(connection: sqlite3.Connection) -> FormatPolicy:
    rows = connection.execute(
        "SELECT key, value FROM settings WHERE key IN ('formats.pickle', 'formats.unknown')"
    ).fetchall()
    found = {row["key"]: row["value"] == "allow" for row in rows}
    default = FormatPolicy()
    return FormatPolicy(
        found.get("formats.pickle", default.allows_pickle),
        found.get("formats.unknown", default.allows_unknown),
    )
