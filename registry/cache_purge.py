"""Frees what is only kept to be quick: wheels that no image's lock names, and unpacked layers."""

from __future__ import annotations

import re
import shutil
import sqlite3
from pathlib import Path

from registry import leases
from registry.blobs import BlobStore, disk_errors_said
from registry.database import Database
from registry.paths import WorkspacePaths
from registry.records import PurgeReport

_HASH = re.compile(r"--hash=sha256:([0-9a-f]{64})")


def purge_caches(
    paths: WorkspacePaths, database: Database, store: BlobStore, *, dry_run: bool
) -> PurgeReport:
    """Nothing while an operation is under way, since it may be about to read any of it; none begins
    meanwhile (registry/leases.py)."""
    from registry.proof import UnpackedLayers  # 10 ms that only purge pays

    with database.write() as connection, store.still(), disk_errors_said():
        if leases.oldest_live(paths.leases) is not None:
            return PurgeReport(0, 0)
        count, size = _drop_wheels(paths.wheels, _locked(connection), dry_run=dry_run)
        layers, layer_bytes = UnpackedLayers(paths.unpacked).trim(0, dry_run=dry_run)
        return PurgeReport(count + layers, size + layer_bytes)


def _locked(connection: sqlite3.Connection) -> set[str]:
    rows = connection.execute("SELECT document FROM image_details")
    return {found for row in rows for found in _HASH.findall(row["document"])}


def _drop_wheels(folder: Path, keep: set[str], *, dry_run: bool) -> tuple[int, int]:
    count = size = 0
    for path in folder.iterdir() if folder.is_dir() else ():
        if path.name in keep:
            continue
        files = [file for file in path.rglob("*") if file.is_file()] if path.is_dir() else [path]
        count, size = count + len(files), size + sum(file.stat().st_size for file in files)
        if not dry_run:
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    return count, size
