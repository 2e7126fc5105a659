"""Files that clients have sent and that no record names yet: they are known by their digest.

    session = incoming.open("ada", digest, size_bytes)   # goes on where it was cut
    incoming.stored("ada", [("model.onnx", digest)])     # what a model is then registered from

An upload is a Session of uploads.py, for a repository that no image can have; a row of held_blobs
protects what is whole from purge, for HOLD_S, and says whose it is: only who has had all bytes may
name a digest.
"""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from registry.blobs import BlobStore, disk_errors_said
from registry.database import Database
from registry.distribution import held_blobs
from registry.distribution.errors import TooLargeError
from registry.distribution.grammar import check_digest
from registry.distribution.held_blobs import Held
from registry.distribution.uploads import Session, Uploads
from registry.errors import InvalidSourceError, StoreFullError
from registry.records import StoredFile
from registry.tree import check_paths

MAX_DIGESTS = 10_000
"""Asked for at once."""
_FIND = "SELECT id FROM blob_uploads WHERE repository = ? AND expires_at > ? ORDER BY id LIMIT 1"
_NAMED = """
SELECT 1 FROM model_files WHERE digest = ?1
UNION ALL SELECT 1 FROM run_files WHERE digest = ?1
UNION ALL SELECT 1 FROM held_blobs WHERE digest = ?1 AND repository = ?2 AND expires_at > ?3
LIMIT 1
"""
"""What every reader may have, or this client has sent."""


@dataclass(frozen=True, slots=True)
class IncomingLimits:
    """``uploads`` of one client that are under way; ``waiting_bytes``: of all clients, whole and
    not used yet; ``free_bytes`` are left on the disk."""

    uploads: int = 100
    waiting_bytes: int = 512 * 1024**3
    free_bytes: int = 256 * 1024**2
    file_bytes: int = 64 * 1024**3


class Incoming:
    """Those of one workspace. ``who`` is the name of a client's token."""

    def __init__(
        self,
        folder: Path,
        database: Database,
        store: BlobStore,
        uploads: Uploads,
        clock: Callable[[], float],
        limits: IncomingLimits,
    ) -> None:
        self._folder = folder
        self._database = database
        self._store = store
        self._uploads = uploads
        self._clock = clock
        self._limits = limits

    def known(self, who: str, digests: Iterable[str]) -> list[str]:
        """Those that need not be sent; they are held from now on. One that is damaged counts as
        there: to register it says so, and to send it again mends it."""
        wanted = list(dict.fromkeys(check_digest(digest) for digest in digests))
        if len(wanted) > MAX_DIGESTS:
            raise InvalidSourceError(f"ask for at most {MAX_DIGESTS} digests at once")
        found = []
        with self._database.write() as connection:  # no purge meanwhile
            now = self._clock()
            for digest in wanted:
                key = _key(who, digest)
                size = self._store.size(digest)
                row = connection.execute(_NAMED, (digest, key, now)).fetchone()
                if size is not None and row is not None:
                    held_blobs.hold(connection, key, {digest: Held(size)}, now)
                    found.append(digest)
        return found

    def offset(self, who: str, digest: str) -> int:
        """How many bytes of it came, in an upload that is not whole yet."""
        upload = self._find(_key(who, check_digest(digest)))
        return 0 if upload is None else self._uploads.offset(_key(who, digest), upload)

    def open(self, who: str, digest: str, size_bytes: int) -> Session:
        """The upload for one request, which closes it. Raises TooLargeError, StoreFullError,
        TOOMANYREQUESTS, and UploadBusyError while another request writes."""
        key = _key(who, check_digest(digest))
        if size_bytes > self._limits.file_bytes:
            raise TooLargeError("a file", self._limits.file_bytes)
        upload = self._find(key)
        self._check_room(size_bytes if upload is None else 0)
        if upload is None:
            upload = self._uploads.begin(key, prefix=_key(who, ""), most=self._limits.uploads)
        return self._uploads.open(key, upload)

    def stored(self, who: str, files: Sequence[tuple[str, str]]) -> list[StoredFile]:
        """Paths and digests as files of the store. Raises InvalidSourceError for a digest that this
        client has not sent and not every reader may have, and for paths that no folder has.
        Another process of the same client may have used and released a file a moment ago: it is
        named by a record since then."""
        check_paths([path for path, _ in files])
        found = []
        with self._database.read() as connection:
            for path, digest in files:
                size = self._held_size(connection, who, check_digest(digest))
                if size is None:
                    raise InvalidSourceError(
                        f"the file {path!a} was not uploaded, or too long ago: {digest}"
                    )
                found.append(StoredFile(path, size, digest))
        return found

    def release(self, who: str, digests: Iterable[str]) -> None:
        """They are used, or not needed: who uses them holds them now."""
        with self._database.write() as connection:
            for digest in digests:
                held_blobs.release(connection, _key(who, digest), digest)

    def _held_size(self, connection: sqlite3.Connection, who: str, digest: str) -> int | None:
        row = connection.execute(_NAMED, (digest, _key(who, digest), self._clock())).fetchone()
        return None if row is None else self._store.size(digest)

    def _find(self, key: str) -> str | None:
        with self._database.read() as connection:
            row = connection.execute(_FIND, (key, self._clock())).fetchone()
        return None if row is None else str(row[0])

    def _check_room(self, size_bytes: int) -> None:
        with disk_errors_said():
            free = shutil.disk_usage(self._folder).free
        if free - size_bytes < self._limits.free_bytes:
            raise StoreFullError(
                "the service's disk has no room for the file; free some (inferry purge)"
            )
        with self._database.read() as connection:
            waiting = connection.execute(
                "SELECT coalesce(sum(size_bytes), 0) FROM held_blobs"
                " WHERE substr(repository, 1, 1) = ':' AND expires_at > ?",
                (self._clock(),),
            ).fetchone()[0]
        if waiting + size_bytes > self._limits.waiting_bytes:
            raise StoreFullError(
                "too much is uploaded and not used; register it, or wait until it expires"
            )


def _key(who: str, digest: str) -> str:
    """In place of a repository; none begins with a colon."""
    return f":{who}:{digest}"
