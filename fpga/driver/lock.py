"""One process for a board: the second is told who has it."""

from __future__ import annotations

import fcntl
import os
import tempfile
from pathlib import Path
from typing import IO

from fpga.errors import BusyError


class BoardLock:
    """Held until `release`, or the process ends."""

    def __init__(self, name: str, folder: Path | None = None) -> None:
        safe = "".join(c if c.isalnum() or c in "-._" else "_" for c in name)
        self._path = (folder or Path(tempfile.gettempdir())) / f"inferry-fpga-{safe}.lock"
        self._file: IO[str] | None = None

    def acquire(self) -> None:
        """Raises BusyError, naming the process that has it."""
        handle = os.open(str(self._path), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        found = os.fdopen(handle, "r+")
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
