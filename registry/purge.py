"""Frees the blobs that no record names and no operation under way can be about to name."""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Callable, Set

from registry import leases, media_types
from registry.blobs import BlobStore, Swept
from registry.database import Database
from registry.errors import DamagedBlobError
from registry.paths import WorkspacePaths
from registry.records import PurgeReport

_KEPT = """
SELECT digest FROM model_versions UNION SELECT digest FROM model_files
UNION SELECT digest FROM image_blobs
UNION SELECT digest FROM run_files
UNION SELECT digest FROM snapshot_files WHERE snapshot IN
 (SELECT snapshot FROM submissions UNION SELECT snapshot FROM submission_inputs)
UNION SELECT digest FROM manifests UNION SELECT digest FROM manifest_blobs
UNION SELECT digest FROM held_blobs WHERE expires_at > :now
UNION SELECT id FROM blob_uploads WHERE expires_at > :now
"""
_EXPIRED = (
    "DELETE FROM held_blobs WHERE expires_at <= :now",
    "DELETE FROM blob_uploads WHERE expires_at <= :now",
    "DELETE FROM snapshots WHERE digest NOT IN (SELECT snapshot FROM submissions)"
    " AND digest NOT IN (SELECT snapshot FROM submission_inputs)",
)
SLICE_S = 2.0
"""For so long a purge removes files in one go, while nobody else writes."""
TURN_S = 0.05
"""For others, between two goes."""
OnProgress = Callable[[int, int], None]


def purge(
    paths: WorkspacePaths,
    database: Database,
    store: BlobStore,
    *,
    dry_run: bool,
    on_progress: OnProgress = lambda done, total: None,
) -> PurgeReport:
    """Sweep while the database is held for writing and the store is still: an operation that has
    published blobs either committed before (its records name them) or still has its lease, and
    then its blobs are younger than that. What clients of ``/v2/`` push and pull is held by rows
    that expire.

    A long one lets others write every SLICE_S, looks anew what is used, and goes on; there
    ``on_progress`` may end it by an exception: what is freed stays so."""
    blobs = size = 0
    total: Swept | None = None
    while True:
        with database.write() as connection, store.still():
            older_than = _oldest(paths)
            keep = reachable(connection, store)
            if total is None:
                total = store.sweep(keep, older_than=older_than, dry_run=True)
                if dry_run:
                    return PurgeReport(total.blobs, total.size_bytes)
            for statement in _EXPIRED:
                connection.execute(statement, {"now": time.time()})
            freed = store.sweep(keep, older_than=older_than, dry_run=False, for_s=SLICE_S)
        blobs, size = blobs + freed.blobs, size + freed.size_bytes
        on_progress(size, max(size, total.size_bytes))
        if freed.is_whole:
            return PurgeReport(blobs, size)
        time.sleep(TURN_S)


def discard(
    paths: WorkspacePaths, database: Database, store: BlobStore, digests: Set[str]
) -> PurgeReport:
    """The same for just ``digests``: what a failed operation had published."""
    with database.write() as connection, store.still():
        older_than = _oldest(paths)
        keep = reachable(connection, store) | _remembered(connection)
        freed = store.sweep(keep, older_than=older_than, dry_run=False, only=frozenset(digests))
    return PurgeReport(freed.blobs, freed.size_bytes)


def _remembered(connection: sqlite3.Connection) -> set[str]:
    """Bases and layers that the next try can use again, though this operation failed."""
    rows = connection.execute(
        "SELECT document AS text FROM base_images UNION SELECT digest FROM built_layers"
    )
    return {digest for row in rows for digest in media_types.FIND_DIGEST.findall(row["text"])}


def _oldest(paths: WorkspacePaths) -> float:
    oldest = leases.oldest_live(paths.leases)
    return time.time() + 1 if oldest is None else oldest


def reachable(connection: sqlite3.Connection, store: BlobStore) -> set[str]:
    """What no purge takes: digests of blobs, and names of uploads under way. A backup has these
    blobs."""
    keep = {row[0] for row in connection.execute(_KEPT, {"now": time.time()})}
    manifests = [row[0] for row in connection.execute("SELECT digest FROM model_versions")]
    return keep | {_config_digest(store, digest) for digest in set(manifests)}


def _config_digest(store: BlobStore, manifest: str) -> str:
    """The config blob that a model's manifest names; a damaged manifest names none."""
    try:
        return str(json.loads(store.read(manifest))["config"]["digest"])
    except DamagedBlobError:
        return manifest
