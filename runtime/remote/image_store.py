"""The blobs of one image of a service, as a store: each is fetched when it is needed, once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

from registry.blobs import BlobStore
from registry.paths import WorkspacePaths

Fetch = Callable[[str], Iterator[bytes]]


class FetchedStore(BlobStore):
    """In an empty ``folder``. ``fetch`` gives a blob by its digest, and raises at its end when the
    bytes are others."""

    def __init__(self, folder: Path, fetch: Fetch) -> None:
        super().__init__(WorkspacePaths(folder))
        self._fetch = fetch
        self.create()

    def has(self, digest: str) -> bool:
        """As BlobStore.has."""
        self._get(digest)
        return True

    def size(self, digest: str) -> int | None:
        """As BlobStore.size."""
        self._get(digest)
        return super().size(digest)

    def _open(self, digest: str) -> IO[bytes]:
        self._get(digest)
        return super()._open(digest)

    def _get(self, digest: str) -> None:
        if not super().has(digest):
            self.put(self._fetch(digest))
