"""The bases that a workspace has read: a build uses one again without asking its registry. Their
key is registry.base's cache_key, of an image of the Docker Engine with its id."""

from __future__ import annotations

from registry.base import BaseImage
from registry.blobs import BlobStore
from registry.checksum import sealed, unsealed
from registry.database import Database
from registry.layers import is_stored
from registry.platforms import Platform


class BaseCache:
    """What base_images remembers. A base whose layers are no longer in the store, or whose row is
    damaged, is forgotten."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def find(self, key: str, platform: Platform, store: BlobStore) -> BaseImage | None:
        """The base, all of it in the store and young for purge, or None."""
        with self._database.read() as connection:
            row = connection.execute(
                "SELECT document FROM base_images WHERE reference = ? AND platform = ?",
                (key, str(platform)),
            ).fetchone()
        document = None if row is None else unsealed(row["document"], key, str(platform))
        if document is None:
            return None
        base = BaseImage.from_json(document)
        return base if all(is_stored(store, layer) for layer in base.layers) else None

    def add(self, key: str, platform: Platform, base: BaseImage) -> None:
        """Remember it."""
        document = sealed(base.to_json(), key, str(platform))
        with self._database.write() as connection:
            connection.execute(
                "INSERT OR REPLACE INTO base_images VALUES (?, ?, ?)",
                (key, str(platform), document),
            )
