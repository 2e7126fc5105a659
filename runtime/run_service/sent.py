"""What a client has sent: as files of the store, and checked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from registry import tree
from registry.tracking.snapshots import Snapshot, SnapshotFile, snapshot_of
from registry.tracking.words import check_path
from runtime.errors import BadValueError
from runtime.workspace_service.call import Call
from runtime.workspace_service.routes.uploads import incoming_of
from runtime.workspace_service.sent_file import SentFile

MAX_FILES = 100_000


def snapshot_sent(call: Call, files: Sequence[SentFile], *, may_be_empty: bool = False) -> Snapshot:
    """Held in the store from the upload on. Raises InvalidSourceError, InvalidNameError."""
    if not files and may_be_empty:
        return snapshot_of(())
    tree.check_paths([file.path for file in files], max_files=MAX_FILES)
    for file in files:
        check_path(file.path)
    found = incoming_of(call).stored(call.actor, [(file.path, file.digest) for file in files])
    return snapshot_of(
        SnapshotFile(sent.path, each.size_bytes, each.digest, sent.is_executable)
        for sent, each in zip(files, found, strict=True)
    )


def check_passed(passed: Mapping[str, str]) -> Mapping[str, str]:
    """Values that a process can be given. Raises BadValueError, which names no value."""
    for name, value in passed.items():
        if "\0" in value or (not value.isprintable() and _has_surrogate(value)):
            raise BadValueError(f"the value of {ascii(name)[:80]} is no valid text")
    return passed


def _has_surrogate(text: str) -> bool:
    return any("\ud800" <= char <= "\udfff" for char in text)
