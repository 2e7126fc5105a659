"""An operation that publishes blobs and then records them: all or nothing.

While it runs it holds a lease, so that no purge takes its blobs. When it fails, what it published
and nothing else uses is removed again, even on a full disk. When it is killed, purge does that.

    with publishing(paths, database, store) as own_store:
        digest, size = own_store.put(chunks)
        ...  # a transaction that records the digest
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress

from registry.blobs import BlobStore, disk_errors_said
from registry.database import Database
from registry.errors import RegistryError
from registry.leases import lease
from registry.paths import WorkspacePaths
from registry.purge import discard


@contextmanager
def publishing(paths: WorkspacePaths, database: Database, store: BlobStore) -> Iterator[BlobStore]:
    """A store like ``store`` for one operation. Raises RegistryErrors for errors of the disk."""
    own = BlobStore(store.paths)
    with disk_errors_said(), database.held():
        try:
            with lease(paths.leases, own.moving):
                yield own
        except BaseException:
            with suppress(RegistryError):
                discard(paths, database, own, own.published)
            raise
