"""What a backup is written to and read from, and who watches.

Both sinks keep to this: nothing of a snapshot that was not committed can be seen, and a process
that is killed leaves what was committed before.
"""

from __future__ import annotations

import errno
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Protocol

from registry.backup.record import Snapshot
from registry.blobs import NO_SPACE
from registry.errors import TargetError


class Watcher(Protocol):
    """As a RunningActivity; both raise CancelledError."""

    def phase(self, name: str, total: int = 0) -> None:
        """The next phase begins, with so many bytes."""
        ...

    def advance(self, count: int) -> None:
        """So many more bytes are done."""
        ...


class Nobody:
    """Watches nothing."""

    def phase(self, name: str, total: int = 0) -> None:
        """As of a Watcher."""

    def advance(self, count: int) -> None:
        """As of a Watcher."""


class Sink(Protocol):
    """Raises TargetError where it cannot be written."""

    @property
    def staging(self) -> Path:
        """A folder on the same disk for files to adopt."""
        ...

    def last_id(self) -> str | None:
        """Of the newest snapshot."""
        ...

    def has(self, digest: str, size_bytes: int) -> bool:
        """Whether it need not be added."""
        ...

    def add(self, digest: str, size_bytes: int, chunks: Iterable[bytes]) -> None:
        """Just these bytes, which ``chunks`` vouches for by raising otherwise; then nothing is
        added."""
        ...

    def adopt(self, file: Path, digest: str, size_bytes: int) -> None:
        """A file of ``staging``, which is gone then."""
        ...

    def commit(self, snapshot: Snapshot, keep: int) -> None:
        """From now on it is there, on the disk. Of those before it ``keep - 1`` stay."""
        ...


class Source(Protocol):
    """Raises BackupError for what is damaged or not there."""

    def ids(self) -> list[str]:
        """Of the snapshots, the newest last."""
        ...

    def snapshot(self, id: str) -> Snapshot:
        """The one with this id."""
        ...

    def chunks(self, digest: str) -> Iterator[bytes]:
        """Piece by piece; a damaged one raises at its end."""
        ...


def write_all(file: IO[bytes], data: bytes) -> None:
    """To an unbuffered file: what a full disk did not take is not tried again when it is closed."""
    rest = memoryview(data)
    while rest:
        rest = rest[file.write(rest) :]


@contextmanager
def target_errors_said(target: Path) -> Iterator[None]:
    """OSErrors of the block as TargetErrors."""
    try:
        yield
    except OSError as error:
        if error.errno in NO_SPACE:
            raise TargetError(
                f"no space is left for '{target}'; free some and try again; what was there before"
                " is whole"
            ) from error
        reason = "a file is in the way" if error.errno == errno.ENOTDIR else error.strerror
        raise TargetError(f"cannot write '{target}': {reason or error}") from error
