"""Opens a backup to read it, whichever form it has."""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path

from registry.backup import archive, folder
from registry.backup.port import Source
from registry.backup.record import Snapshot
from registry.errors import BackupError


def reading(path: Path) -> AbstractContextManager[Source]:
    """Raises BackupError for what is none, and where one is being written."""
    if path.is_dir():
        return folder.reading(path)
    if not path.exists():
        raise BackupError(f"there is no backup '{path}'")
    return archive.reading(path)


def chosen(source: Source, id: str | None) -> Snapshot:
    """The one with this id, else the newest. Raises BackupError."""
    ids = source.ids()
    if not ids:
        raise BackupError("the backup has no snapshot: the first one was not finished")
    if id is not None and id not in ids:
        raise BackupError(f"the backup has no snapshot {ascii(id)[:60]}; it has {', '.join(ids)}")
    return source.snapshot(id or ids[-1])
