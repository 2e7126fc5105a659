"""The content-addressed store: an OCI image layout on disk.

A blob is written to uploads/, hashed on the way, synced, and renamed to its digest, so that a blob
is whole or not there. Every read verifies the digest.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from registry import media_types
from registry.errors import DamagedBlobError, StoreFullError
from registry.paths import WorkspacePaths

CHUNK_BYTES = 1024 * 1024
LAYOUT = b'{"imageLayoutVersion":"1.0.0"}'
NO_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class BlobStore:
    """The blobs of one workspace."""

    def __init__(self, paths: WorkspacePaths) -> None:
        self._paths = paths

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
        with full_disk_said():
            handle, name = tempfile.mkstemp(dir=self._paths.uploads)
        try:
            with full_disk_said(), os.fdopen(handle, "wb", CHUNK_BYTES) as file:

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
                    return digest, size

                yield write, finish
        finally:
            with suppress(FileNotFoundError):
                os.unlink(name)

    def open(self, digest: str) -> IO[bytes]:
        """The blob, verified from its first byte to its last. Raises DamagedBlobError."""
        file = self._open(digest)
        hashed = hashlib.file_digest(file, "sha256").hexdigest()  # type: ignore[arg-type]
        if f"sha256:{hashed}" != digest:
            file.close()
            raise DamagedBlobError(digest)
        file.seek(0)
        return file

    def read(self, digest: str) -> bytes:
        """All of a small blob, verified."""
        with self.open(digest) as file:
            return file.read()

    def chunks(self, digest: str) -> Iterator[bytes]:
        """The blob piece by piece; a damaged one raises at its end, before the consumer is done.
        Use where the result is discarded on an error."""
        hashed = hashlib.sha256()
        with self._open(digest) as file:
            while chunk := file.read(CHUNK_BYTES):
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
        with full_disk_said():
            handle, name = tempfile.mkstemp(dir=self._paths.uploads)
            with os.fdopen(handle, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            os.chmod(name, 0o644)
            os.replace(name, self._paths.index_file)
            _sync_folder(self._paths.store)

    def sweep(self, keep: set[str], *, older_than: float, dry_run: bool) -> tuple[int, int]:
        """Remove blobs and uploads that are not in ``keep`` and were last published before
        ``older_than`` (seconds since 1970). Returns their number and bytes."""
        count = size = 0
        with self._locked(fcntl.LOCK_EX):
            for path in (*self._paths.blobs.iterdir(), *self._paths.uploads.iterdir()):
                is_blob = path.parent == self._paths.blobs
                if is_blob and f"sha256:{path.name}" in keep:
                    continue
                with suppress(FileNotFoundError):  # an upload that was finished meanwhile
                    status = path.stat()
                    if status.st_mtime >= older_than:
                        continue
                    if not dry_run:
                        path.unlink()
                    count, size = count + 1, size + status.st_size
        return count, size

    def _open(self, digest: str) -> IO[bytes]:
        try:
            return self._paths.blob(digest).open("rb")
        except FileNotFoundError:
            raise DamagedBlobError(digest, "is missing") from None

    def _publish(self, upload: Path, digest: str) -> None:
        """Rename the upload to its digest. A blob that is there already is touched instead, so that
        a sweep under way sees that it is wanted."""
        blob = self._paths.blob(digest)
        with self._locked(fcntl.LOCK_SH):
            try:
                os.utime(blob)
            except FileNotFoundError:
                os.replace(upload, blob)
                _sync_folder(self._paths.blobs)
            else:
                if blob.stat().st_size != upload.stat().st_size:
                    os.replace(upload, blob)  # the old one was damaged: this mends it

    @contextmanager
    def _locked(self, how: int) -> Iterator[None]:
        with self._paths.store_lock.open("rb") as lock:
            fcntl.flock(lock, how)
            yield


def file_chunks(file: IO[bytes]) -> Iterator[bytes]:
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
def full_disk_said() -> Iterator[None]:
    """Turns "no space left" into StoreFullError."""
    try:
        yield
    except OSError as error:
        if error.errno in NO_SPACE:
            raise StoreFullError(
                "no space is left in the workspace; free some (inferry purge) and try again"
            ) from error
        raise
