"""Tags and properties: key and value pairs of one version, all tables alike."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from typing import Literal

Table = Literal["model_tags", "model_properties", "image_tags"]
Key = tuple[str, int]


def read(connection: sqlite3.Connection, table: Table, key: Key) -> dict[str, str]:
    """All pairs of the version ``key``, by key."""
    rows = connection.execute(
        f"SELECT key, value FROM {table} WHERE name = ? AND version = ? ORDER BY key", key
    )
    return {row["key"]: row["value"] for row in rows}


def change(
    connection: sqlite3.Connection,
    table: Table,
    key: Key,
    added: Mapping[str, str],
    removed: Sequence[str],
) -> None:
    """Remove, then add or replace pairs."""
    connection.executemany(
        f"DELETE FROM {table} WHERE name = ? AND version = ? AND key = ?",
        [(*key, name) for name in removed],
    )
    connection.executemany(
        f"INSERT OR REPLACE INTO {table} (name, version, key, value) VALUES (?, ?, ?, ?)",
        [(*key, name, value) for name, value in added.items()],
    )
