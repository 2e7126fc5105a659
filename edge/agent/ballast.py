"""Some of the disk, held for the moment at which it is full: what an agent needs to begin and to
remember where its modules are. A device that was switched off with a full disk runs its modules
again.

    ballast = Ballast(folder)
    ballast.keep()          # where there is room enough
    ballast.keep(is_end=True)   # as much of it as there is room for: nothing is written any more
    ballast.release()       # whether there was some
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

NAME = "ballast"
SIZE_BYTES = 1024 * 1024
AMPLE = 8
_PIECE = b"\0" * (64 * 1024)


class Ballast:
    """In the state folder. Nothing raises: it is an extra."""

    def __init__(self, folder: Path, size_bytes: int = SIZE_BYTES) -> None:
        self._path = folder / NAME
        self._size_bytes = size_bytes

    def keep(self, *, is_end: bool = False) -> None:
        """Have it, where that takes nothing that others here need; at the end all that there is."""
        with contextlib.suppress(OSError):
            found = os.statvfs(self._path.parent)
            if not is_end and found.f_bavail * found.f_frsize < AMPLE * self._size_bytes:
                return
            file = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
            try:
                left = self._size_bytes - os.fstat(file).st_size
                while left > 0:
                    left -= os.write(file, _PIECE[:left])
            finally:
                os.close(file)

    def release(self) -> bool:
        """Give it back; False: there was none."""
        with contextlib.suppress(OSError):
            self._path.unlink()
            return True
        return False
