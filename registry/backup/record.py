"""What a snapshot says: which files a workspace had at one moment, by their digests. Pure.

The document has a checksum of its own: what says which bytes are right must be right itself.
"""

from __future__ import annotations

import hashlib
import re

import msgspec

from registry.errors import BackupError

FORMAT = 1
"""Counts what a reader must know. What it need not know is a field with a default."""
ID = re.compile(r"\d{6}-\d{8}T\d{6}")
"""A number that grows, whatever the clock says, and the time."""
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
MAX_PATH_CHARS = 4096
DATABASE = "workspace.db"


class SavedFile(msgspec.Struct, frozen=True):
    """One file of the workspace: its POSIX ``path`` below the workspace, its permissions."""

    path: str
    digest: str
    size_bytes: int
    mode: int = 0o600


class Snapshot(msgspec.Struct, frozen=True, kw_only=True):
    """``files``: what lies outside of the store, the databases too; ``blobs``: the store's, with
    their sizes. ``lost``: blobs that records name and the workspace had no whole one of."""

    format: int = FORMAT
    id: str
    made_at: str
    made_by: str
    database_version: int
    has_keys: bool
    counts: dict[str, int]
    files: tuple[SavedFile, ...]
    blobs: tuple[tuple[str, int], ...]
    lost: tuple[str, ...] = ()

    def contents(self) -> dict[str, int]:
        """The digest and size of all that it needs."""
        return {file.digest: file.size_bytes for file in self.files} | dict(self.blobs)

    @property
    def size_bytes(self) -> int:
        """Of all of it, what is there twice counted once."""
        return sum(self.contents().values())


class _Envelope(msgspec.Struct, frozen=True):
    digest: str
    snapshot: msgspec.Raw


class _Format(msgspec.Struct, frozen=True):
    format: int


def new_id(before: str | None, made_at: str) -> str:
    """``000012-20261127T110658``, after the one ``before``."""
    number = 1 if before is None else int(before.partition("-")[0]) + 1
    return f"{number:06}-{re.sub('[^0-9T]', '', made_at)[:15]}"


def encoded(snapshot: Snapshot) -> bytes:
    """As it is written."""
    said = msgspec.json.encode(snapshot)
    return msgspec.json.encode(_Envelope(_digest(said), msgspec.Raw(said)))


def decoded(data: bytes) -> Snapshot:
    """Raises BackupError for one that is damaged, of a newer Inferry, or that would write outside
    of the workspace."""
    try:
        envelope = msgspec.json.decode(data, type=_Envelope)
        said = bytes(envelope.snapshot)
        if _digest(said) != envelope.digest:
            raise BackupError("a snapshot of the backup is damaged: its checksum is wrong")
        found = msgspec.json.decode(said, type=_Format).format
        if found > FORMAT:
            raise BackupError("the backup was made by a newer Inferry; update Inferry")
        snapshot = msgspec.json.decode(said, type=Snapshot)
    except msgspec.MsgspecError as error:
        raise BackupError("a snapshot of the backup is damaged or is none") from error
    _check(snapshot)
    return snapshot


def _check(snapshot: Snapshot) -> None:
    """What a backup from a stranger could say."""
    digests = [file.digest for file in snapshot.files]
    digests += [digest for digest, _ in snapshot.blobs]
    if not all(_DIGEST.fullmatch(each) for each in (*digests, *snapshot.lost)):
        raise BackupError("the backup names what is no sha256 digest")
    if not ID.fullmatch(snapshot.id):
        raise BackupError("the backup has a snapshot without a right id")
    paths = [file.path for file in snapshot.files]
    if len(set(paths)) != len(paths) or not all(map(is_inside, paths)):
        raise BackupError("the backup names a path outside of the workspace, or one twice")


def is_inside(path: str) -> bool:
    """Whether a POSIX path stays below the folder that it is joined to."""
    parts = path.split("/")
    return (
        len(path) <= MAX_PATH_CHARS
        and "\0" not in path
        and all(part not in ("", ".", "..") for part in parts)
    )


def _digest(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"
