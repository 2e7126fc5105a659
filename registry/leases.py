"""Leases: how an operation under way protects blobs that no record names yet.

A lease is a locked file; the lock goes with its process, however that ends. purge keeps every blob
that was published since the oldest live lease began. Leases begin within ``BlobStore.moving()``,
purge counts them within ``BlobStore.still()``: none begins between the counting and the sweep.
"""

from __future__ import annotations

import fcntl
import os
import uuid
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path


@contextmanager
def lease(folder: Path, moving: Callable[[], AbstractContextManager[None]]) -> Iterator[None]:
    """Hold a lease for the block. It begins within ``moving()``, when no purge looks."""
    with moving():
        path = folder / uuid.uuid4().hex
        handle = os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, 0o600)
        fcntl.flock(handle, fcntl.LOCK_EX)
    try:
        yield
    finally:
        with suppress(FileNotFoundError):
            path.unlink()
        os.close(handle)


def oldest_live(folder: Path) -> float | None:
    """When the oldest live lease began (seconds since 1970) or None; removes dead ones."""
    starts = []
    for path in folder.iterdir():
        with suppress(FileNotFoundError):
            handle = os.open(path, os.O_RDWR | os.O_CLOEXEC)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                path.unlink()
            except BlockingIOError:
                starts.append(os.fstat(handle).st_mtime)
            finally:
                os.close(handle)
    return min(starts, default=None)
