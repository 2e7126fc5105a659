"""One blob on its way: <store>/parts/<hex>.part grows over cuts, restarts and power cuts.

A part is only ever appended to. After a restart it is hashed again from its start, so what a power
cut took from it is noticed by the digest at the end: then it is thrown away and fetched once more.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import IO

from edge.errors import PullError
from edge.stock.documents import Descriptor
from registry.blobs import CHUNK_BYTES, BlobStore, disk_errors_said

SYNC_BYTES = 8 * 1024 * 1024
"""A power cut loses at most so much of a part."""


class WrongBytesError(PullError):
    """A whole part does not have the digest. It was thrown away."""


class Part:
    """Of the blob ``descriptor``. Use as a context manager; one at a time. ``check`` may raise
    while what is here is hashed."""

    def __init__(self, folder: Path, descriptor: Descriptor, check: Callable[[], None]) -> None:
        self.descriptor = descriptor
        self.path = folder / f"{descriptor.digest.removeprefix('sha256:')}.part"
        self._check = check
        self._hashed = hashlib.sha256()
        self._file: IO[bytes] | None = None
        self._unsynced = 0
        self.size_bytes = 0

    def __enter__(self) -> Part:
        with disk_errors_said():
            with suppress(FileNotFoundError):
                os.chmod(self.path, 0o644)  # it was about to be published, read-only
            self._file = self.path.open("a+b")
        try:
            self._read()
        except BaseException:
            self._file.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            with disk_errors_said():
                self._file.close()
            self._file = None

    @property
    def is_complete(self) -> bool:
        """Whether all its bytes are here, right or wrong."""
        return self.size_bytes == self.descriptor.size

    def restart(self) -> None:
        """Throw away what is here."""
        assert self._file is not None
        with disk_errors_said():
            self._file.truncate(0)
        self._hashed, self.size_bytes, self._unsynced = hashlib.sha256(), 0, 0

    def add(self, chunk: bytes) -> None:
        """The next bytes. Raises PullError when there are more than the blob has."""
        assert self._file is not None
        if self.size_bytes + len(chunk) > self.descriptor.size:
            raise PullError(f"the registry sends more than the size of {self.descriptor.digest}")
        with disk_errors_said():
            self._file.write(chunk)
            self._unsynced += len(chunk)
            if self._unsynced >= SYNC_BYTES:
                self.sync()
        self._hashed.update(chunk)
        self.size_bytes += len(chunk)

    def sync(self) -> None:
        """What came so far survives a power cut."""
        assert self._file is not None
        with disk_errors_said():
            self._file.flush()
            os.fdatasync(self._file.fileno())
        self._unsynced = 0

    def publish(self, blobs: BlobStore) -> None:
        """Make it a blob of the store. Raises WrongBytesError, having thrown it away."""
        assert self._file is not None
        if f"sha256:{self._hashed.hexdigest()}" != self.descriptor.digest:
            self.restart()
            raise WrongBytesError(
                f"the registry sent other bytes than those of {self.descriptor.digest}"
            )
        with disk_errors_said():
            self._file.flush()
            os.fchmod(self._file.fileno(), 0o444)
            os.fsync(self._file.fileno())
        blobs.adopt(self.path, self.descriptor.digest)

    def _read(self) -> None:
        assert self._file is not None
        with disk_errors_said():
            self._file.seek(0)
            while chunk := self._file.read(CHUNK_BYTES):
                self._check()
                self._hashed.update(chunk)
                self.size_bytes += len(chunk)
        if self.size_bytes > self.descriptor.size:
            self.restart()


def part_bytes(folder: Path, digest: str) -> int:
    """How much of a blob is here already."""
    try:
        return (folder / f"{digest.removeprefix('sha256:')}.part").stat().st_size
    except FileNotFoundError:
        return 0
