"""Frees the blobs that no record names and no operation under way can be about to name."""

from __future__ import annotations

import json
import time

from registry import leases
from registry.blobs import BlobStore
from registry.database import Database
from registry.errors import DamagedBlobError
from registry.paths import WorkspacePaths
from registry.records import PurgeReport

_DIGESTS = """
SELECT digest FROM model_versions UNION SELECT digest FROM model_files
UNION SELECT digest FROM image_blobs
"""


def purge(
    paths: WorkspacePaths, database: Database, store: BlobStore, *, dry_run: bool
) -> PurgeReport:
    """Sweep while the database is held for writing: an operation that has published blobs either
    committed before (its records name them) or still has its lease (they are young)."""
    with database.write() as connection:
        oldest = leases.oldest_live(paths.leases)
        keep = {row[0] for row in connection.execute(_DIGESTS)}
        manifests = [row[0] for row in connection.execute("SELECT digest FROM model_versions")]
        keep |= {_config_digest(store, digest) for digest in set(manifests)}
        older_than = time.time() + 1 if oldest is None else oldest
        return PurgeReport(*store.sweep(keep, older_than=older_than, dry_run=dry_run))


def _config_digest(store: BlobStore, manifest: str) -> str:
    """The config blob that a model's manifest names; a damaged manifest names none."""
    try:
        return str(json.loads(store.read(manifest))["config"]["digest"])
    except DamagedBlobError:
        return manifest
