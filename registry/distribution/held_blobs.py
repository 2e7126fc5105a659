"""Blobs that a repository holds for a while: uploaded and not yet named, or about to be pulled.

A row protects its blob from purge, in any process, until it expires; it also lets the repository
see the blob, so that a client that got a manifest gets its layers even when the image is deleted
in between. Whoever uses a blob renews its row, at most once in half its life.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

HOLD_S = 3600.0
_AT_ONCE = 500


@dataclass(frozen=True, slots=True)
class Held:
    """What is held: ``media_type`` is None of a blob that is no manifest."""

    size_bytes: int
    media_type: str | None = None


def is_visible(connection: sqlite3.Connection, repository: str, digest: str) -> bool:
    """Whether the repository may see the blob; its file may be gone all the same."""
    row = connection.execute(
        "SELECT 1 FROM repository_blobs WHERE repository = ? AND digest = ? LIMIT 1",
        (repository, digest),
    ).fetchone()
    return row is not None


def hold(
    connection: sqlite3.Connection, repository: str, blobs: Mapping[str, Held], now: float
) -> None:
    """Hold them from now on."""
    connection.executemany(
        "INSERT INTO held_blobs (repository, digest, size_bytes, media_type, expires_at)"
        " VALUES (?, ?, ?, ?, ?) ON CONFLICT (repository, digest) DO UPDATE SET"
        " expires_at = max(expires_at, excluded.expires_at),"
        " media_type = coalesce(excluded.media_type, media_type)",
        [
            (repository, digest, held.size_bytes, held.media_type, now + HOLD_S)
            for digest, held in blobs.items()
        ],
    )


def are_held(
    connection: sqlite3.Connection, repository: str, digests: Sequence[str], now: float
) -> bool:
    """Whether all are held for at least half of HOLD_S more: nothing is to be written."""
    count = 0
    for start in range(0, len(digests), _AT_ONCE):
        some = digests[start : start + _AT_ONCE]
        count += connection.execute(
            "SELECT count(*) FROM held_blobs WHERE repository = ? AND expires_at > ?"
            f" AND digest IN ({','.join('?' * len(some))})",
            (repository, now + HOLD_S / 2, *some),
        ).fetchone()[0]
    return count == len(set(digests))


def release(connection: sqlite3.Connection, repository: str, digest: str) -> bool:
    """Hold it no more; whether it was held."""
    done = connection.execute(
        "DELETE FROM held_blobs WHERE repository = ? AND digest = ?", (repository, digest)
    )
    return done.rowcount > 0
