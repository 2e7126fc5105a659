"""The agent's log: plain lines on stderr, and in agent.log of the state folder, which is kept
small, so that a support bundle has it.
"""

from __future__ import annotations

import contextlib
import logging
import os
import sys
import time
from pathlib import Path
from typing import TextIO

NAME = "agent.log"
MAX_BYTES = 512 * 1024
"""Of each of the two files: the one that is written, and the one before it."""


class Lines(logging.Formatter):
    """ "2026-11-26T19:45:02Z WARNING switch: the new version did not pass"."""

    def format(self, record: logging.LogRecord) -> str:
        """One line; a traceback below it only when the level is DEBUG or a defect is logged."""
        source = record.name.removeprefix("edge.")
        text = " ".join(record.getMessage().split())
        shown = "".join(c if c.isprintable() else "?" for c in text)[:2000]
        moment = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(record.created))
        line = f"{moment} {record.levelname} {source}: {shown}"
        if record.exc_info and record.exc_info[0] is not None:
            line += "\n" + self.formatException(record.exc_info)
        return line


class KeptFile(logging.Handler):
    """Appends to a file; a full one becomes the file before. A disk that cannot be written is no
    reason to stop."""

    def __init__(self, path: Path, max_bytes: int = MAX_BYTES) -> None:
        super().__init__()
        self._path = path
        self._max_bytes = max_bytes
        self._file: TextIO | None = None

    def emit(self, record: logging.LogRecord) -> None:
        """Never raises."""
        with contextlib.suppress(OSError, ValueError):
            if self._file is None:
                self._file = open(self._path, "a", encoding="utf-8", errors="replace")  # noqa: SIM115
            self._file.write(self.format(record) + "\n")
            self._file.flush()
            if self._file.tell() > self._max_bytes:
                self._file.close()
                self._file = None
                os.replace(self._path, before(self._path))

    def close(self) -> None:
        """As logging wants it."""
        if self._file is not None:
            self._file.close()
            self._file = None
        super().close()


def before(path: Path) -> Path:
    """Where the file goes when it is full."""
    return path.with_name(path.name + ".1")


def set_up(folder: Path | None, *, is_verbose: bool = False) -> None:
    """For the whole process; ``folder``: where agent.log is kept."""
    root = logging.getLogger("edge")
    root.setLevel(logging.DEBUG if is_verbose else logging.INFO)
    root.propagate = False
    handlers: list[logging.Handler] = [logging.StreamHandler(sys.stderr)]
    if folder is not None:
        handlers.append(KeptFile(folder / NAME))
    for handler in handlers:
        handler.setFormatter(Lines())
        root.addHandler(handler)


def tear_down() -> None:
    """Close what ``set_up`` opened."""
    root = logging.getLogger("edge")
    for handler in list(root.handlers):
        root.removeHandler(handler)
        handler.close()
    root.propagate = True
