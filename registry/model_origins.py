"""Where a version that came over MLflow's REST says that it comes from, as its client sees it."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass

STAGES = ("None", "Staging", "Production", "Archived")
"""Of MLflow before aliases; clients still ask for them."""

REGISTERED = "mlflow-artifacts:/registered-models/"
"""What the addresses of registered files begin with: NAME/VERSION follows."""


@dataclass(frozen=True, slots=True)
class Origin:
    """``source`` is the URI that the client gave, ``user`` who it was, ``logged_model`` the id of
    the logged model that was registered."""

    source: str
    user: str
    created_ms: int
    logged_model: str | None = None
    stage: str = "None"
    updated_ms: int | None = None

    def insert(self, connection: sqlite3.Connection, name: str, version: int) -> None:
        """Within the transaction that registers the version."""
        connection.execute(
            "INSERT INTO model_origins (name, version, source, user, logged_model, stage,"
            " created_ms, updated_ms) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (
                name,
                version,
                self.source,
                self.user,
                self.logged_model,
                self.stage,
                self.created_ms,
                self.created_ms if self.updated_ms is None else self.updated_ms,
            ),
        )


def read(connection: sqlite3.Connection, name: str, version: int) -> Origin | None:
    """That of one version; None of one that was registered in another way."""
    row = connection.execute(
        "SELECT source, user, created_ms, logged_model, stage, updated_ms FROM model_origins"
        " WHERE name = ? AND version = ?",
        (name, version),
    ).fetchone()
    return None if row is None else Origin(*row)
