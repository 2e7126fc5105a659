"""An activity's log: a text file, one line each with its time, written at once and of bounded size.

    2026-11-26T15:22:33Z Resolving 14 requirements

A log that cannot be written, as on a full disk, is given up line by line: the operation goes on.
"""

from __future__ import annotations

import os
import threading
from contextlib import suppress
from pathlib import Path

from registry.activities.record import printable
from registry.clock import Clock

MAX_LOG_BYTES = 8 * 1024 * 1024
MAX_LINE_CHARS = 4096
FULL = "this log is full; what follows is not kept, but for how it ends"


class ActivityLog:
    """The log of one activity, for the process that runs it."""

    def __init__(self, path: Path, clock: Clock, *, max_bytes: int = MAX_LOG_BYTES) -> None:
        self._path = path
        self._clock = clock
        self._room = max_bytes
        self._handle: int | None = None
        self._is_torn = False
        self._lock = threading.Lock()

    def add(self, text: str) -> None:
        """Append each line of ``text``; of a full log, nothing."""
        for line in text.splitlines() or [""]:
            with self._lock:
                data = self._line(line)
                if self._room <= 0:
                    continue
                self._room -= len(data)
                self._write(data if self._room > 0 else self._line(FULL))

    def end(self, text: str) -> None:
        """Append the last line, even to a full log, and close it."""
        with self._lock:
            self._write(self._line(text))
            self._room = 0  # a thread that still speaks is not heard
            if self._handle is not None:
                with suppress(OSError):
                    os.close(self._handle)
                self._handle = None

    def _line(self, text: str) -> bytes:
        cut = text if len(text) <= MAX_LINE_CHARS else f"{text[: MAX_LINE_CHARS - 3]}..."
        shown = "\t".join(map(printable, cut.split("\t")))  # tables are read in columns
        return f"{self._clock()} {shown}\n".encode(errors="backslashreplace")

    def _write(self, data: bytes) -> None:
        """All of it, or as much as the disk takes; the next line then begins on a line of its
        own."""
        with suppress(OSError):
            if self._handle is None:
                flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
                self._handle = os.open(self._path, flags, 0o644)
            whole = b"\n" + data if self._is_torn else data
            written = os.write(self._handle, whole)
            self._is_torn = written < len(whole) if written else self._is_torn


def read_log(path: Path, offset: int) -> bytes:
    """What the log has from ``offset`` on; nothing, if there is no log."""
    with suppress(FileNotFoundError), path.open("rb") as file:
        file.seek(offset)
        return file.read()
    return b""
