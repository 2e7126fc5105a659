"""A lifeline: the locked file that tells whether an activity's process still lives.

The lock goes with its process, however that ends. Where the database could not take how the
activity ended (its disk is full), the file keeps that: it was given its room at the start.
"""

from __future__ import annotations

import fcntl
import os
from contextlib import suppress
from pathlib import Path

import msgspec

from registry.activities.record import DEAD, MAX_CAUSE_CHARS, End

ROOM_BYTES = 4 * MAX_CAUSE_CHARS + 1096
"""A cause of the longest characters, and the rest of an End: two pages."""


class Lifeline:
    """Held by the process that runs an activity. Raises OSError where it cannot be made."""

    def __init__(self, path: Path) -> None:
        self._path = path
        flags = os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC
        self._handle = os.open(path, flags, 0o600)
        try:
            fcntl.flock(self._handle, fcntl.LOCK_EX)
        except OSError:
            self.cut()
            raise
        with suppress(OSError):  # without room the end is lost only if the database has none either
            os.write(self._handle, bytes(ROOM_BYTES))
            os.fsync(self._handle)

    def cut(self) -> None:
        """The activity ended, and the database knows how."""
        with suppress(OSError):
            self._path.unlink()
        os.close(self._handle)

    def leave(self, end: End) -> None:
        """The activity ended, and only this file knows how."""
        with suppress(OSError):
            os.pwrite(self._handle, msgspec.json.encode(end).ljust(ROOM_BYTES, b"\0"), 0)
            os.fsync(self._handle)
        os.close(self._handle)


def is_held(path: Path) -> bool:
    """Whether a live process holds it. Looking takes a shared lock, so that two who look at the
    same time do not take each other for the process."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(handle)
    return False


def last_words(path: Path, now: str) -> End:
    """How the activity of a lifeline that nobody holds ended."""
    with suppress(OSError, msgspec.MsgspecError):
        data = path.read_bytes()[:ROOM_BYTES].rstrip(b"\0")
        return msgspec.json.decode(data, type=End)
    return End("failed", DEAD, now)
