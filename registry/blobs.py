"""The content-addressed store: an OCI image layout on disk.

A blob is written to uploads/, hashed on the way, synced, and renamed to its digest, so that a blob
is whole or not there. Every read verifies the digest. Errors of the disk leave as RegistryErrors.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import os
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Set
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Protocol

from registry import media_types
from registry.errors import (
    DamagedBlobError,
    RegistryError,
    StoreFullError,
    WorkspaceDamagedError,
)
from registry.paths import WorkspacePaths

CHUNK_BYTES = 1024 * 1024
LAYOUT = b'{"imageLayoutVersion":"1.0.0"}'
NO_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@dataclass(frozen=True, slots=True)
class Swept:
    """What was removed, or would be; ``is_whole``: nothing is left to remove."""

    blobs: int
    size_bytes: int
    is_whole: bool


class BlobStore:
    """The blobs of one workspace."""

    def __init__(self, paths: WorkspacePaths) -> None:
        self.paths = self._paths = paths
        self.published: set[str] = set()
        """What was published through this object."""

    def create(self) -> None:
        """Make an empty store; keeps what is there."""
        for folder in (self._paths.blobs, self._paths.uploads):
            folder.mkdir(parents=True, exist_ok=True)
        self._paths.store_lock.touch()
        if not self._paths.layout_file.exists():
            self._paths.layout_file.write_bytes(LAYOUT)
        if not self._paths.index_file.exists():
            self.write_index([])

    def put(self, chunks: Iterable[bytes]) -> tuple[str, int]:
        """Store the bytes; returns digest and size. Raises StoreFullError, leaving nothing."""
        with self.writer() as (write, finish):
            for chunk in chunks:
                write(chunk)
            return finish()

    @contextmanager
    def writer(
        self,
    ) -> Iterator[tuple[Callable[[bytes], object], Callable[[], tuple[str, int]]]]:
        """``(write, finish)``: feed bytes, then ``finish()`` publishes them as one blob. What is
        not finished leaves nothing."""
        hashed = hashlib.sha256()
        with disk_errors_said():
            handle, name = tempfile.mkstemp(dir=self._paths.uploads)
        try:
            with disk_errors_said(), os.fdopen(handle, "wb", CHUNK_BYTES) as file:

                def write(chunk: bytes) -> None:
                    hashed.update(chunk)
                    file.write(chunk)

                def finish() -> tuple[str, int]:
                    size = file.tell()
                    file.flush()
                    os.fchmod(file.fileno(), 0o444)
                    os.fsync(file.fileno())
                    digest = f"sha256:{hashed.hexdigest()}"
                    self._publish(Path(name), digest)
                    self.published.add(digest)
                    return digest, size

                yield write, finish
        finally:
            with suppress(FileNotFoundError):
                os.unlink(name)

    def open(self, digest: str) -> IO[bytes]:
        """The blob, verified from its first byte to its last. Raises DamagedBlobError."""
        file = self._open(digest)
        with disk_errors_said():
            hashed = hashlib.file_digest(file, "sha256").hexdigest()  # type: ignore[arg-type]
        if f"sha256:{hashed}" != digest:
            file.close()
            raise DamagedBlobError(digest)
        file.seek(0)
        return file

    def read(self, digest: str) -> bytes:
        """All of a small blob, verified."""
        with self.open(digest) as file, disk_errors_said():
            return file.read()

    def chunks(self, digest: str) -> Iterator[bytes]:
        """The blob piece by piece; a damaged one raises at its end, before the consumer is done.
        Use where the result is discarded on an error."""
        hashed = hashlib.sha256()
        with self._open(digest) as file:
            while True:
                with disk_errors_said():
                    chunk = file.read(CHUNK_BYTES)
                if not chunk:
                    break
                hashed.update(chunk)
                yield chunk
        if f"sha256:{hashed.hexdigest()}" != digest:
            raise DamagedBlobError(digest)

    def write_index(self, manifests: list[dict[str, Any]]) -> None:
        """Replace index.json, atomically."""
        index = {
            "schemaVersion": 2,
            "mediaType": media_types.INDEX,
            "manifests": manifests,
        }
        data = json.dumps(index, sort_keys=True, separators=(",", ":")).encode()
        with disk_errors_said():
            handle, name = tempfile.mkstemp(dir=self._paths.uploads)
            try:
                with os.fdopen(handle, "wb") as file:
                    file.write(data)
                    file.flush()
                    os.fsync(file.fileno())
                os.chmod(name, 0o644)
                os.replace(name, self._paths.index_file)
                _sync_folder(self._paths.store)
            finally:
                with suppress(FileNotFoundError):
                    os.unlink(name)

    @contextmanager
    def still(self) -> Iterator[None]:
        """For the block nobody publishes a blob or begins a lease."""
        with self._locked(fcntl.LOCK_EX):
            yield

    @contextmanager
    def moving(self) -> Iterator[None]:
        """For the block nobody sweeps."""
        with self._locked(fcntl.LOCK_SH):
            yield

    def sweep(
        self,
        keep: Set[str],
        *,
        older_than: float,
        dry_run: bool,
        only: Set[str] | None = None,
        for_s: float | None = None,
    ) -> Swept:
        """Within ``still()``: remove blobs and uploads that are not in ``keep`` (digests, names of
        uploads) and were last published before ``older_than`` (seconds since 1970); of blobs, with
        ``only``, just these; with ``for_s``, as many as go in so many seconds, and one at
        least."""
        count = size = 0
        until_s: float | None = None
        blobs = self._paths.blobs.iterdir() if only is None else map(self._paths.blob, only)
        for path in (*blobs, *self._paths.uploads.iterdir()):
            is_blob = path.parent == self._paths.blobs
            if (f"sha256:{path.name}" if is_blob else path.name) in keep:
                continue
            with suppress(FileNotFoundError):  # an upload that was given up meanwhile
                status = path.stat()
                if status.st_mtime >= older_than:
                    continue
                if not dry_run:
                    path.unlink()
                count, size = count + 1, size + status.st_size
                if for_s is not None:
                    until_s = until_s or time.monotonic() + for_s
                    if time.monotonic() >= until_s:
                        return Swept(count, size, is_whole=False)
        return Swept(count, size, is_whole=True)

    def has(self, digest: str) -> bool:
        """Whether there is such a blob, damaged or not."""
        return self._paths.blob(digest).exists()

    def size(self, digest: str) -> int | None:
        """The size of the blob, damaged or not; None when there is none."""
        try:
            with disk_errors_said():
                return self._paths.blob(digest).stat().st_size
        except FileNotFoundError:
            return None

    def open_unverified(self, digest: str) -> IO[bytes]:
        """The blob for a reader that verifies it. Raises DamagedBlobError when it is missing."""
        return self._open(digest)

    def adopt(self, upload: Path, digest: str) -> None:
        """Publish a file of uploads/ that was hashed and synced elsewhere, and is read-only."""
        self._publish(upload, digest)

    def renew(self, digest: str) -> bool:
        """Whether the blob is there and whole. To purge it is as young as one just published."""
        with self._locked(fcntl.LOCK_SH), suppress(FileNotFoundError):
            os.utime(self._paths.blob(digest))
        try:
            self.open(digest).close()
        except DamagedBlobError:
            return False
        self.published.add(digest)
        return True

    def touch(self, digests: Iterable[str]) -> None:
        """To purge these blobs are as young as ones just published, those that are there."""
        with self._locked(fcntl.LOCK_SH):
            for digest in digests:
                with suppress(FileNotFoundError):
                    os.utime(self._paths.blob(digest))

    def _open(self, digest: str) -> IO[bytes]:
        try:
            with disk_errors_said():
                return self._paths.blob(digest).open("rb")
        except FileNotFoundError:
            raise DamagedBlobError(digest, "is missing") from None

    def _publish(self, upload: Path, digest: str) -> None:
        """Rename the upload to its digest. It replaces a blob that is there already, which mends a
        damaged one and makes it young for purge. The folder is synced in any case: another process
        may have renamed the same blob and not have synced it yet."""
        with self._locked(fcntl.LOCK_SH):
            try:
                os.replace(upload, self._paths.blob(digest))
            except FileNotFoundError as error:
                raise WorkspaceDamagedError(
                    "a file was removed from the store while it was written; try again"
                ) from error
        _sync_folder(self._paths.blobs)

    @contextmanager
    def _locked(self, how: int) -> Iterator[None]:
        with disk_errors_said():
            lock = self._paths.store_lock.open("rb")
        with lock:
            fcntl.flock(lock, how)
            yield


class Readable(Protocol):
    """What bytes are read from."""

    def read(self, size: int = -1, /) -> bytes:
        """As of a file."""
        ...


def file_chunks(file: Readable) -> Iterator[bytes]:
    """The rest of an open file in pieces."""
    while chunk := file.read(CHUNK_BYTES):
        yield chunk


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def disk_errors_said() -> Iterator[None]:
    """Turns what the workspace's disk refuses into RegistryErrors. FileNotFoundError passes:
    whoever looks for a file knows what its absence means."""
    try:
        yield
    except FileNotFoundError:
        raise
    except OSError as error:
        raise disk_error(error) from error


def disk_error(error: OSError) -> RegistryError:
    """The RegistryError that an error of the workspace's disk means."""
    if error.errno in NO_SPACE:
        return StoreFullError(
            "no space is left in the workspace; free some (inferry purge) and try again"
        )
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return WorkspaceDamagedError("the workspace cannot be written; check its permissions")
    return WorkspaceDamagedError(
        f"the workspace's disk fails: {error.strerror or error}; check the disk and try again"
    )
