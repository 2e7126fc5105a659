"""The registry of one workspace, put together."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from registry.blobs import BlobStore
from registry.database import Database
from registry.distribution.catalog import Catalog
from registry.distribution.incoming import Incoming, IncomingLimits
from registry.distribution.kept_connections import ServedDatabase
from registry.distribution.manifests import Manifests
from registry.distribution.referrers import ReferrerLists
from registry.distribution.repository_blobs import RepositoryBlobs
from registry.distribution.tokens import Tokens
from registry.distribution.uploads import UploadLimits, Uploads
from registry.paths import WorkspacePaths


class Distribution:
    """What ``/v2/`` serves. Any number of processes may serve one workspace."""

    def __init__(
        self,
        paths: WorkspacePaths,
        database: Database,
        store: BlobStore,
        clock: Callable[[], float] = time.time,
        limits: UploadLimits | None = None,
    ) -> None:
        self.store = store
        self.catalog = Catalog(database)
        self.manifests = Manifests(database, store, clock)
        self.referrers = ReferrerLists(database)
        self.blobs = RepositoryBlobs(database, store, clock)
        self.uploads = Uploads(paths, database, store, clock, limits or UploadLimits())
        self.incoming = Incoming(
            paths.uploads, database, store, self.uploads, clock, IncomingLimits()
        )
        self.tokens = Tokens(database, clock)

    @classmethod
    def open(
        cls,
        root: Path,
        clock: Callable[[], float] = time.time,
        limits: UploadLimits | None = None,
    ) -> Distribution:
        """That of the workspace at ``root``, which is there and up to date (Workspace.open)."""
        paths = WorkspacePaths(root)
        return cls(paths, ServedDatabase(paths.database), BlobStore(paths), clock, limits)
