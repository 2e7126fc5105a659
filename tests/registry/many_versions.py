"""A workspace with thousands of models, images and versions: rows as registering writes them, in
one transaction."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path

from registry import Workspace

DIGEST = "sha256:" + "0" * 64
NAMES = 2500


def versions_of(number: int) -> range:
    """Those of the model with this number: one to three, less the first where it was deleted, so
    that some have none."""
    return range(2 if number % 10 == 9 else 1, 2 + number % 3)


def tags_of(number: int, version: int) -> dict[str, str]:
    """Every version has some; one in a hundred is rare."""
    tags = {"number": str(number), "parity": "even" if version % 2 == 0 else "odd"}
    return {**tags, "rare": "yes"} if number % 100 == 7 else tags


def filled(root: Path, names: int = NAMES) -> Workspace:
    """A new workspace; ``m0007`` is the model with number 7, ``i0007`` the image."""
    workspace = Workspace.init(root, base="none")
    add(root, "m", range(names))
    return workspace


def add(root: Path, prefix: str, numbers: Iterable[int]) -> None:
    """Models and images of these numbers; the models' names begin with ``prefix``."""
    rows = [
        (f"{kind}{number:04d}", version, tags_of(number, version))
        for kind in (prefix, "i")
        for number in numbers
        for version in versions_of(number)
    ]
    with closing(sqlite3.connect(root / "workspace.db")) as connection, connection:
        for what, isolated in (("model", prefix), ("image", "i")):
            found = [row for row in rows if row[0].startswith(isolated)]
            connection.executemany(
                f"INSERT OR IGNORE INTO {what}s VALUES (?, 9)", [row[:1] for row in found]
            )
            connection.executemany(
                f"INSERT OR IGNORE INTO {what}_tags VALUES (?, ?, ?, ?)",
                [(*row[:2], *pair) for row in found for pair in row[2].items()],
            )
            _insert(connection, what, [row[:2] for row in found])


def _insert(connection: sqlite3.Connection, what: str, keys: list[tuple[str, int]]) -> None:
    if what == "model":
        sql = (
            "INSERT INTO model_versions (name, version, description, created_at, digest,"
            " size_bytes) VALUES (?, ?, '', '2026-01-01T00:00:00Z', ?, 3)"
        )
    else:
        sql = (
            "INSERT OR IGNORE INTO image_versions (name, version, description, created_at, digest,"
            " size_bytes, state, log, engine)"
            " VALUES (?, ?, '', '2026-01-01T00:00:00Z', ?, 3, 'succeeded', 'made', 'worker')"
        )
    connection.executemany(sql, [(*key, DIGEST) for key in keys])
