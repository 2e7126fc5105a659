"""What refers to a manifest: SBOMs, signatures, whatever names it as its subject."""

from __future__ import annotations

import json
import sqlite3
from dataclasses import dataclass

from registry import media_types
from registry.database import Database
from registry.distribution.pages import PageQuery, page


@dataclass(frozen=True, slots=True)
class Referrers:
    """An image index that lists them, and what asks for those that follow."""

    index: bytes
    next: PageQuery | None


class ReferrerLists:
    """The referrers of all manifests."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def list(
        self, repository: str, subject: str, artifact_type: str | None, query: PageQuery
    ) -> Referrers:
        """Those of ``subject``, which need not be there; with ``artifact_type`` only those of that
        type."""
        with self._database.read() as connection:
            rows = connection.execute(
                "SELECT * FROM manifests WHERE repository = ?1 AND subject = ?2"
                " AND (?3 IS NULL OR artifact_type = ?3)",
                (repository, subject, artifact_type),
            ).fetchall()
        by_digest = {row["digest"]: row for row in rows}
        found = page(by_digest, query)
        index = {
            "schemaVersion": 2,
            "mediaType": media_types.INDEX,
            "manifests": [_descriptor(by_digest[digest]) for digest in found.items],
        }
        return Referrers(json.dumps(index, separators=(",", ":")).encode(), found.next)


def _descriptor(row: sqlite3.Row) -> dict[str, object]:
    descriptor: dict[str, object] = {
        "mediaType": row["media_type"],
        "digest": row["digest"],
        "size": row["size_bytes"],
    }
    if row["artifact_type"] is not None:
        descriptor["artifactType"] = row["artifact_type"]
    if annotations := json.loads(row["annotations"]):
        descriptor["annotations"] = annotations
    return descriptor
