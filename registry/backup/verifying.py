"""Reads all of a backup and compares it with its digests."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from registry.backup.opening import reading
from registry.backup.port import Nobody, Watcher
from registry.errors import BackupError


@dataclass(frozen=True, slots=True)
class Verified:
    """``damaged``: a line for each thing that is not right; ``lost``: blobs that the workspace had
    no whole ones of when it was backed up."""

    snapshots: tuple[str, ...]
    files: int
    size_bytes: int
    damaged: tuple[str, ...]
    lost: tuple[str, ...]


def verify(path: Path, watcher: Watcher | None = None) -> Verified:
    """Of all snapshots of the backup. Raises BackupError for what is none at all."""
    watcher = watcher or Nobody()
    damaged: list[str] = []
    needed: dict[str, int] = {}
    lost: set[str] = set()
    with reading(path) as source:
        ids = source.ids()
        if not ids:
            damaged.append("the backup has no snapshot: the first one was not finished")
        for id in ids:
            try:
                snapshot = source.snapshot(id)
            except BackupError as error:
                damaged.append(f"{id}: {error}")
            else:
                needed |= snapshot.contents()
                lost |= {*snapshot.lost}
        watcher.phase("Reading the backup", sum(needed.values()))
        for digest, size in needed.items():
            done = 0
            try:
                for chunk in source.chunks(digest):
                    done += len(chunk)
                    watcher.advance(len(chunk))
            except BackupError as error:
                damaged.append(str(error))
            else:
                if done != size:
                    damaged.append(f"{digest} has {done} bytes, and {size} were backed up")
    return Verified(
        tuple(ids), len(needed), sum(needed.values()), tuple(damaged), tuple(sorted(lost))
    )
