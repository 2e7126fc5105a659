"""Which layer was written for a model: kept in the database, so that the next image reuses it.

Only a memory: purge frees a layer that no image uses any more, whatever is remembered here.
"""

from __future__ import annotations

import sqlite3
from contextlib import suppress

from registry.database import Database
from registry.layers import Layer
from registry.records import Model


class DatabaseLayerCache:
    """The LayerCache of a workspace."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def find(self, model: Model) -> Layer | None:
        """The layer, which may be gone from the store, or None."""
        with self._database.read() as connection:
            row = connection.execute(
                "SELECT digest, size_bytes FROM model_layers WHERE name = ? AND version = ?",
                (model.name, model.version),
            ).fetchone()
        return None if row is None else Layer(row["digest"], row["size_bytes"], row["digest"])

    def add(self, model: Model, layer: Layer) -> None:
        """Remember the layer; nothing if the model was deleted meanwhile."""
        with suppress(sqlite3.IntegrityError), self._database.write() as connection:
            connection.execute(
                "INSERT OR REPLACE INTO model_layers VALUES (?, ?, ?, ?)",
                (model.name, model.version, layer.digest, layer.size_bytes),
            )
