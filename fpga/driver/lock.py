"""One process for a board: the second is told who has it."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from typing import IO

from fpga.errors import BusyError

FOLDERS = ("/run/lock", "/tmp")
"""The same for all processes of the machine: TMPDIR is not, as each module of a device has its
own."""


class BoardLock:
    """Held until `release`, or the process ends."""

    def __init__(self, name: str, folder: Path | None = None) -> None:
        safe = "".join(c if c.isalnum() or c in "-._" else "_" for c in name)
        self._path = (folder or _folder()) / f"inferry-fpga-{safe}.lock"
        self._file: IO[str] | None = None

    def acquire(self) -> None:
        """Raises BusyError, naming the process that has it."""
        found = os.fdopen(self._open(), "r+")
        try:
            fcntl.flock(found, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            holder = found.read(20).strip()
            found.close()
            raise BusyError(
                "process {} uses the board; end it first".format(holder or "(unknown)")
            ) from None
        found.seek(0)
        found.truncate()
        found.write(f"{os.getpid()}\n")
        found.flush()
        self._file = found

    def release(self) -> None:
        """Idempotent."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _open(self) -> int:
        """In a folder where all may write, the kernel lets nobody create what is another's: it is
        opened first."""
        flags = os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW
        try:
            try:
                return os.open(str(self._path), flags)
            except FileNotFoundError:
                return os.open(str(self._path), flags | os.O_CREAT, 0o666)
        except OSError as error:
            raise BusyError(
                f"the board's lock {self._path} cannot be taken ({error.strerror}): it is another"
                " user's"
            ) from None


def _folder() -> Path:
    return Path(next((name for name in FOLDERS if os.access(name, os.W_OK)), FOLDERS[-1]))
