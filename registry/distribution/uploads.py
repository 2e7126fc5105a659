"""Uploads of blobs as sessions: a file in the store and a row, which survive requests and restarts.

    upload = uploads.begin("digits")
    with closing(uploads.open("digits", upload)) as session:
        session.write(chunk)
        session.finish(digest)

The file is the truth: an upload has as many bytes as its file. One request at a time writes to it,
in whatever process; it holds the file's lock. An upload that nobody touches for UPLOAD_S expires:
the next purge, or the server, removes it.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import sqlite3
import threading
import uuid
from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from registry.blobs import CHUNK_BYTES, BlobStore, disk_errors_said
from registry.database import Database
from registry.distribution import held_blobs
from registry.distribution.errors import (
    Code,
    DistributionError,
    TooLargeError,
    UploadBusyError,
    UploadRangeError,
)
from registry.distribution.grammar import check_upload
from registry.distribution.held_blobs import Held
from registry.paths import WorkspacePaths

UPLOAD_S = 3600.0
RENEW_S = 60.0
REMEMBERED_HASHES = 256


@dataclass(frozen=True, slots=True)
class UploadLimits:
    """How much clients may leave half done, and how large a blob may be."""

    uploads: int = 1000
    uploads_per_repository: int = 100
    blob_bytes: int = 64 * 1024**3


class Uploads:
    """The uploads of all repositories."""

    def __init__(
        self,
        paths: WorkspacePaths,
        database: Database,
        store: BlobStore,
        clock: Callable[[], float],
        limits: UploadLimits,
    ) -> None:
        self._folder = paths.uploads
        self._database = database
        self._store = store
        self._clock = clock
        self._limits = limits
        self._hashes: OrderedDict[str, _Hashed] = OrderedDict()

    def begin(self, repository: str, *, prefix: str = "", most: int | None = None) -> str:
        """The id of a new upload. ``most``: of all repositories whose name begins with ``prefix``.
        Raises TOOMANYREQUESTS, StoreFullError."""
        upload = uuid.uuid4().hex
        with self._database.write() as connection:
            now = self._clock()
            _expire(connection, self._folder, now)
            self._check_room(connection, repository)
            if most is not None:  # counted here, so that a hundred at once cannot all be the last
                _check_number(connection, prefix, most)
            with disk_errors_said():
                self._path(upload).touch(0o600, exist_ok=False)
            connection.execute(
                "INSERT INTO blob_uploads VALUES (?, ?, ?)", (upload, repository, now + UPLOAD_S)
            )
        return upload

    def offset(self, repository: str, upload: str) -> int:
        """How many bytes it has. Raises BLOB_UPLOAD_UNKNOWN."""
        self._check_known(repository, upload)
        try:
            return self._path(upload).stat().st_size
        except FileNotFoundError:
            raise _unknown(upload) from None

    def open(self, repository: str, upload: str) -> Session:
        """The upload for one request, which closes it. Raises BLOB_UPLOAD_UNKNOWN, and
        BLOB_UPLOAD_INVALID while another request writes."""
        self._check_known(repository, upload)
        path = self._path(upload)
        try:
            with disk_errors_said():
                handle = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            raise _unknown(upload) from None
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if not path.exists():  # the other request finished it while this one opened it
                raise _unknown(upload)
            self._renew(upload)
            return Session(self, repository, upload, handle)
        except BlockingIOError:
            os.close(handle)
            raise UploadBusyError(upload) from None
        except BaseException:
            os.close(handle)
            raise

    def cancel(self, repository: str, upload: str) -> None:
        """Give it up. Raises BLOB_UPLOAD_UNKNOWN."""
        self._check_known(repository, upload)
        self._remove(upload)

    def expire(self) -> None:
        """Remove what has expired, here and not only when somebody purges."""
        with self._database.write() as connection:
            _expire(connection, self._folder, self._clock())

    def _path(self, upload: str) -> Path:
        return self._folder / upload

    def _check_room(self, connection: sqlite3.Connection, repository: str) -> None:
        total, own = connection.execute(
            "SELECT count(*), count(*) FILTER (WHERE repository = ?) FROM blob_uploads",
            (repository,),
        ).fetchone()
        if total >= self._limits.uploads or own >= self._limits.uploads_per_repository:
            raise DistributionError(
                Code.TOOMANYREQUESTS, "too many uploads are open; finish or delete some"
            )

    def _check_known(self, repository: str, upload: str) -> None:
        check_upload(upload)
        with self._database.read() as connection:
            row = connection.execute(
                "SELECT 1 FROM blob_uploads WHERE id = ? AND repository = ?", (upload, repository)
            ).fetchone()
        if row is None:
            raise _unknown(upload)

    def _renew(self, upload: str) -> None:
        with self._database.write() as connection:
            done = connection.execute(
                "UPDATE blob_uploads SET expires_at = ? WHERE id = ?",
                (self._clock() + UPLOAD_S, upload),
            )
            if done.rowcount == 0:
                raise _unknown(upload)

    def _remove(self, upload: str) -> None:
        with self._database.write() as connection:
            connection.execute("DELETE FROM blob_uploads WHERE id = ?", (upload,))
            self._path(upload).unlink(missing_ok=True)
        self._hashes.pop(upload, None)

    def _publish(self, repository: str, upload: str, digest: str, handle: int) -> None:
        """In one transaction: purge comes before it or after it."""
        with self._database.write() as connection:
            row = connection.execute(
                "DELETE FROM blob_uploads WHERE id = ? RETURNING 1", (upload,)
            ).fetchone()
            if row is None:
                raise _unknown(upload)
            with disk_errors_said():
                os.fchmod(handle, 0o444)
            self._store.adopt(self._path(upload), digest)
            size = os.fstat(handle).st_size
            held_blobs.hold(connection, repository, {digest: Held(size)}, self._clock())
        self._hashes.pop(upload, None)

    def _remember(self, upload: str, hashed: _Hashed) -> None:
        self._hashes[upload] = hashed
        self._hashes.move_to_end(upload)
        while len(self._hashes) > REMEMBERED_HASHES:
            self._hashes.popitem(last=False)


@dataclass(slots=True)
class _Hashed:
    """The hash of an upload's first ``offset`` bytes. They never change: an upload only grows, and
    a failed request takes back no more than itself has written."""

    offset: int = 0
    sha256: hashlib._Hash = field(default_factory=hashlib.sha256)

    def update(self, chunk: bytes) -> None:
        self.sha256.update(chunk)
        self.offset += len(chunk)


class Session:
    """An upload, held by one request."""

    def __init__(self, uploads: Uploads, repository: str, upload: str, handle: int) -> None:
        self._uploads = uploads
        self._repository = repository
        self.upload = upload
        self._handle = handle
        self._start = self.offset = os.lseek(handle, 0, os.SEEK_END)
        known = uploads._hashes.pop(upload, None) or _Hashed()
        self._hashed = known if known.offset <= self.offset else _Hashed()
        self._renewed_at = uploads._clock()
        self._is_done = False
        # A request that is cancelled closes this while a thread may still write to it.
        self._lock = threading.RLock()

    def check_start(self, first: int) -> None:
        """Raises UploadRangeError unless a chunk that begins at ``first`` follows."""
        if first != self.offset:
            raise UploadRangeError(self.offset, first)

    def write(self, chunk: bytes) -> None:
        """Append. Raises TooLargeError, StoreFullError, taking back what this request wrote."""
        with self._lock:
            self._check_open()
            self._write(chunk)

    def _check_open(self) -> None:
        if self._handle < 0:
            raise _unknown(self.upload)

    def _write(self, chunk: bytes) -> None:
        if self.offset + len(chunk) > self._uploads._limits.blob_bytes:
            self.take_back()
            raise TooLargeError("a blob", self._uploads._limits.blob_bytes)
        follows = self._hashed.offset == self.offset
        try:
            with disk_errors_said():
                _write_all(self._handle, chunk)
        except BaseException:
            self.take_back()
            raise
        self.offset += len(chunk)
        if follows:
            self._hashed.update(chunk)
        self._stay_alive()

    def take_back(self) -> None:
        """Forget what this request has written."""
        os.ftruncate(self._handle, self._start)
        self.offset = os.lseek(self._handle, 0, os.SEEK_END)
        if self._hashed.offset > self.offset:
            self._hashed = _Hashed()

    def finish(self, digest: str) -> int:
        """Publish the blob and end the upload; the size. Raises DIGEST_INVALID, after which the
        upload is gone: its bytes are wrong."""
        with self._lock:
            self._check_open()
            return self._finish(digest)

    def _finish(self, digest: str) -> int:
        if self._sha256() != digest:
            self._is_done = True
            self._uploads._remove(self.upload)
            raise DistributionError(
                Code.DIGEST_INVALID, "the uploaded bytes have another digest", digest
            )
        with disk_errors_said():
            os.fsync(self._handle)
        self._uploads._publish(self._repository, self.upload, digest, self._handle)
        self._is_done = True
        return self.offset

    def cancel(self) -> None:
        """End the upload without a blob."""
        self._is_done = True
        self._uploads._remove(self.upload)

    def discard(self) -> None:
        """Close it; what is not finished is gone."""
        try:
            if not self._is_done:
                self.cancel()
        finally:
            self.close()

    def close(self) -> None:
        """Let the next request have it."""
        with self._lock:
            if self._handle >= 0:
                if not self._is_done:
                    self._uploads._remember(self.upload, self._hashed)
                os.close(self._handle)
                self._handle = -1

    def _sha256(self) -> str:
        while self._hashed.offset < self.offset:  # written before the server was restarted
            with disk_errors_said():
                chunk = os.pread(self._handle, CHUNK_BYTES, self._hashed.offset)
            if not chunk:
                raise _unknown(self.upload)
            self._hashed.update(chunk)
        return f"sha256:{self._hashed.sha256.hexdigest()}"

    def _stay_alive(self) -> None:
        now = self._uploads._clock()
        if not 0 <= now - self._renewed_at < RENEW_S:
            self._renewed_at = now
            self._uploads._renew(self.upload)


def _expire(connection: sqlite3.Connection, folder: Path, now: float) -> None:
    for row in connection.execute(
        "DELETE FROM blob_uploads WHERE expires_at <= ? RETURNING id", (now,)
    ).fetchall():
        with suppress(OSError):
            (folder / row[0]).unlink()


def _check_number(connection: sqlite3.Connection, prefix: str, most: int) -> None:
    count = connection.execute(
        "SELECT count(*) FROM blob_uploads WHERE substr(repository, 1, ?) = ?",
        (len(prefix), prefix),
    ).fetchone()[0]
    if count >= most:
        raise DistributionError(
            Code.TOOMANYREQUESTS,
            f"{count} uploads are under way; finish them, or wait until they expire",
        )


def _write_all(handle: int, chunk: bytes) -> None:
    rest = memoryview(chunk)
    while rest:
        rest = rest[os.write(handle, rest) :]


def _unknown(upload: str) -> DistributionError:
    return DistributionError(Code.BLOB_UPLOAD_UNKNOWN, "there is no such upload", upload)
