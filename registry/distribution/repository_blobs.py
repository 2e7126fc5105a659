"""Blobs as a repository sees them: there, read, mounted from another, given up.

A repository sees what its manifests and images name, and what was uploaded or mounted there and is
still held.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import IO

from registry.blobs import BlobStore
from registry.database import Database
from registry.distribution import held_blobs
from registry.distribution.errors import Code, DistributionError
from registry.distribution.held_blobs import Held
from registry.errors import DamagedBlobError, StoreFullError, WorkspaceDamagedError


class RepositoryBlobs:
    """The blobs of all repositories."""

    def __init__(self, database: Database, store: BlobStore, clock: Callable[[], float]) -> None:
        self._database = database
        self._store = store
        self._clock = clock

    def size(self, repository: str, digest: str) -> int:
        """Its size; it is held from now on, since a client that looks relies on it. Raises
        BLOB_UNKNOWN."""
        now = self._clock()
        with self._database.read() as connection:
            is_held = held_blobs.are_held(connection, repository, [digest], now)
            is_visible = is_held or held_blobs.is_visible(connection, repository, digest)
        size = self._store.size(digest) if is_visible else None
        if size is None:
            raise _unknown(digest)
        if is_held:
            return size
        # A disk that cannot be written is no reason not to be read.
        with suppress(StoreFullError, WorkspaceDamagedError), self._database.write() as connection:
            if self._store.size(digest) is None:
                raise _unknown(digest)
            held_blobs.hold(connection, repository, {digest: Held(size)}, now)
        return size

    def open(self, repository: str, digest: str) -> IO[bytes]:
        """The file, not verified: its reader knows the digest. Raises BLOB_UNKNOWN."""
        self.size(repository, digest)
        try:
            return self._store.open_unverified(digest)
        except DamagedBlobError:
            raise _unknown(digest) from None

    def mount(self, repository: str, digest: str, source: str) -> bool:
        """Whether ``source`` sees the blob; then ``repository`` does too."""
        with self._database.write() as connection:
            size = self._store.size(digest)
            if size is None or not held_blobs.is_visible(connection, source, digest):
                return False
            held_blobs.hold(connection, repository, {digest: Held(size)}, self._clock())
            return True

    def delete(self, repository: str, digest: str) -> None:
        """Give up a blob that was uploaded or mounted. Raises BLOB_UNKNOWN, DENIED when a manifest
        names it."""
        with self._database.write() as connection:
            if not held_blobs.is_visible(connection, repository, digest):
                raise _unknown(digest)
            held_blobs.release(connection, repository, digest)
            if held_blobs.is_visible(connection, repository, digest):
                raise DistributionError(
                    Code.DENIED, "a manifest names it; delete that first", digest
                )


def _unknown(digest: str) -> DistributionError:
    return DistributionError(Code.BLOB_UNKNOWN, "the repository has no such blob", digest)
