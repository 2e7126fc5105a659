"""Manifests as rows: what a repository has beside the images of its name.

Each names its blobs, so that purge keeps them. A manifest can be there for two reasons: a client
pushed it, or the workspace recorded it for an image (its SBOM, its signature); it goes when neither
holds any more.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping

from registry.distribution.manifest import Manifest


def add_manifest(
    connection: sqlite3.Connection,
    repository: str,
    digest: str,
    media_type: str,
    size: int,
    subject: str | None,
    artifact_type: str | None,
    blobs: Mapping[str, int],
    annotations: Mapping[str, str] | None = None,
) -> None:
    """Record the workspace's own manifest within a write transaction: referrers lists it under
    ``subject``, purge keeps it and its ``blobs`` (size by digest), no client can delete it."""
    manifest = Manifest(media_type, blobs, {}, subject, artifact_type, annotations or {})
    insert(connection, repository, digest, size, manifest, is_recorded=True)


def remove_manifests_of(connection: sqlite3.Connection, repository: str, subject: str) -> None:
    """Take back what was recorded for the image ``subject``; call it after the image's row is
    deleted. Nothing happens while another version of it has the same digest."""
    connection.execute(
        "UPDATE manifests SET is_recorded = 0 WHERE repository = ?1 AND subject = ?2"
        " AND NOT EXISTS (SELECT 1 FROM image_versions WHERE name = ?1 AND digest = ?2)",
        (repository, subject),
    )
    connection.execute(
        "DELETE FROM manifests WHERE repository = ? AND subject = ?"
        " AND is_recorded = 0 AND is_pushed = 0",
        (repository, subject),
    )


def insert(
    connection: sqlite3.Connection,
    repository: str,
    digest: str,
    size_bytes: int,
    manifest: Manifest,
    *,
    is_recorded: bool = False,
) -> None:
    """Record one for one more reason."""
    connection.execute(
        "INSERT INTO manifests (repository, digest, media_type, size_bytes, subject, artifact_type,"
        " annotations, is_pushed, is_recorded) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
        " ON CONFLICT (repository, digest) DO UPDATE SET"
        " is_pushed = max(is_pushed, excluded.is_pushed),"
        " is_recorded = max(is_recorded, excluded.is_recorded)",
        (
            repository,
            digest,
            manifest.media_type,
            size_bytes,
            manifest.subject,
            manifest.artifact_type,
            json.dumps(dict(manifest.annotations)),
            not is_recorded,
            is_recorded,
        ),
    )
    connection.executemany(
        "INSERT OR IGNORE INTO manifest_blobs VALUES (?, ?, ?, ?)",
        [
            (repository, digest, *blob)
            for blob in (*manifest.blobs.items(), *manifest.children.items())
        ],
    )
