"""Which layers were written before, kept in the database, so that the next image reuses them.

Only a memory: purge frees a layer that no image uses any more, whatever is remembered here.
"""

from __future__ import annotations

import sqlite3
from contextlib import suppress

from registry.checksum import checksum
from registry.database import Database
from registry.layers import Layer
from registry.records import Model


class DatabaseLayerCache:
    """The layers of a workspace's models, and of whatever else has a key that covers its content.
    What is found may be gone from the store."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def find(self, model: Model) -> Layer | None:
        """The layer of ``model``, or None."""
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

    def find_built(self, key: str) -> Layer | None:
        """The layer that was built for ``key``, or None; also when the row is damaged."""
        with self._database.read() as connection:
            row = connection.execute(
                "SELECT digest, size_bytes, diff_id, media_type, checksum FROM built_layers"
                " WHERE key = ?",
                (key,),
            ).fetchone()
        if row is None or row["checksum"] != checksum(key, *row[:4]):
            return None
        return Layer(*row[:4])

    def add_built(self, key: str, layer: Layer) -> None:
        """Remember the layer that was built for ``key``."""
        fields = (layer.digest, layer.size_bytes, layer.diff_id, layer.media_type)
        with self._database.write() as connection:
            connection.execute(
                "INSERT OR REPLACE INTO built_layers VALUES (?, ?, ?, ?, ?, ?)",
                (key, *fields, checksum(key, *fields)),
            )
