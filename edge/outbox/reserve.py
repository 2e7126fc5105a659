"""A file that only takes room, beside the outbox. On a full disk it makes way, as even to forget
records a journal must be written.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path


class Reserve:
    """Of one thread."""

    def __init__(self, path: Path, size_bytes: int) -> None:
        self._path = path
        self._size_bytes = size_bytes
        self.is_held = False

    def hold(self) -> bool:
        """Take the room, if there is twice as much, so that what was given away because it was
        needed is not taken back at once. Whether it is held now."""
        if not self.is_held:
            try:
                self._take()
                self.is_held = True
            except OSError:
                self.release()
        return self.is_held

    def release(self) -> bool:
        """Give the room away; whether there was some."""
        was_held, self.is_held = self.is_held, False
        with contextlib.suppress(OSError):
            was_held = was_held or self._path.stat().st_size > 0
            self._path.unlink()
        return was_held

    def _take(self) -> None:
        handle = os.open(self._path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        try:
            if hasattr(os, "posix_fallocate"):
                if os.fstat(handle).st_size != self._size_bytes:
                    os.posix_fallocate(handle, 0, 2 * self._size_bytes)
                    os.ftruncate(handle, self._size_bytes)
            elif os.fstat(handle).st_size < self._size_bytes:
                os.pwrite(handle, bytes(self._size_bytes), 0)
        finally:
            os.close(handle)
