"""Deployments as rows: how they are read from the database."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

import msgspec

from registry.deployments.records import Deployment, Observed, Replica, Revision, Share
from registry.deployments.settings import read_revision, read_service
from registry.errors import NotFoundError


def find(connection: sqlite3.Connection, name: str) -> Deployment:
    """The deployment. Raises NotFoundError."""
    row = connection.execute("SELECT * FROM deployments WHERE name = ?", (name,)).fetchone()
    if row is None:
        raise NotFoundError(f"there is no deployment '{name}'; see inferry deployment list")
    return _deployment(connection, row)


def every(connection: sqlite3.Connection, after: str = "", limit: int = -1) -> list[Deployment]:
    """All, by name; at most ``limit`` behind this name."""
    rows = connection.execute(
        "SELECT * FROM deployments WHERE name > ? ORDER BY name LIMIT ?", (after, limit)
    ).fetchall()
    return [_deployment(connection, row) for row in rows]


def write_traffic(connection: sqlite3.Connection, name: str, traffic: Sequence[Share]) -> None:
    """Replace it."""
    connection.execute("DELETE FROM deployment_traffic WHERE deployment = ?", (name,))
    connection.executemany(
        "INSERT INTO deployment_traffic VALUES (?, ?, ?, ?)",
        [(name, s.revision, s.percent, int(s.is_shadow)) for s in traffic],
    )


def secret_names(connection: sqlite3.Connection, name: str) -> tuple[str, ...]:
    """Of a deployment, in order."""
    rows = connection.execute(
        "SELECT name FROM deployment_secrets WHERE deployment = ? ORDER BY name", (name,)
    )
    return tuple(row["name"] for row in rows)


def _deployment(connection: sqlite3.Connection, row: sqlite3.Row) -> Deployment:
    name = row["name"]
    revisions = connection.execute(
        "SELECT * FROM deployment_revisions WHERE deployment = ? ORDER BY revision", (name,)
    )
    traffic = connection.execute(
        "SELECT * FROM deployment_traffic WHERE deployment = ? ORDER BY revision", (name,)
    )
    return Deployment(
        name=name,
        target=row["target"],
        service=read_service(row["service"]),
        goal=row["goal"],
        is_wanted=bool(row["is_wanted"]),
        change=row["change"],
        created_at=row["created_at"],
        revisions=tuple(_revision(each) for each in revisions.fetchall()),
        traffic=tuple(
            Share(each["revision"], each["percent"], bool(each["is_shadow"]))
            for each in traffic.fetchall()
        ),
        secrets=secret_names(connection, name),
        observed=_observed(connection, name),
    )


def _revision(row: sqlite3.Row) -> Revision:
    return Revision(
        row["revision"],
        f"{row['image']}:{row['image_version']}",
        row["digest"],
        read_revision(row["settings"]),
        row["made_at"],
        row["made_by"],
    )


def _observed(connection: sqlite3.Connection, name: str) -> Observed | None:
    row = connection.execute(
        "SELECT * FROM deployment_state WHERE deployment = ?", (name,)
    ).fetchone()
    if row is None:
        return None
    replicas = msgspec.json.decode(row["replicas"], type=tuple[Replica, ...])
    return Observed(
        row["state"],
        row["cause"],
        row["url"],
        row["change"],
        replicas,
        row["seen_at"],
        row["memory"],
    )
