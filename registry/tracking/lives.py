"""Whether the process of a run still lives: ``runs/<id>.lock`` below the workspace, or, for one on
another machine, ``runs/<id>.lease``.

The process holds a lock on the file, and the lock goes with the process, however that ends, and
whatever the clock says. Its time of change is when the process was last heard of. Where the
database could not take how the run ended (its disk is full), the file keeps that: it was given its
room at the start.

A process on another machine can hold no lock. It is heard of every few seconds, which is the time
of change of its file; LEASE_S later it is dead.
"""

from __future__ import annotations

import fcntl
import json
import os
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from weakref import WeakSet

from registry.errors import RegistryError
from registry.tracking.records import DEAD, ENDED, Status

ROOM_BYTES = 4096
MAX_CAUSE_CHARS = 1000
LOCK, LOG, LEASE = ".lock", ".log", ".lease"
LEASE_S = 90.0
UNHEARD = "its machine is not heard of any more"


@dataclass(frozen=True, slots=True)
class End:
    """How a run ended."""

    status: Status
    cause: str | None
    ended_ms: int


class LifeTakenError(RegistryError):
    """Another process holds this run."""


class Life:
    """Held by the process of a run. Raises OSError where it cannot be made, and LifeTakenError."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._handle: int | None = _locked(path)
        _held.add(self)
        with suppress(OSError):  # without room the end is lost only if the database has none either
            os.pwrite(self._handle, bytes(ROOM_BYTES), 0)
            os.fsync(self._handle)

    def beat(self, now_ms: int) -> None:
        """The process lives at this time."""
        with suppress(OSError):
            os.utime(self._path, ns=(now_ms * 1_000_000, now_ms * 1_000_000))

    def cut(self) -> None:
        """The run ended, and the database knows how."""
        if self._handle is not None:
            with suppress(OSError):
                self._path.unlink()
        self._close()

    def leave(self, end: End) -> None:
        """The run ended, and only this file knows how."""
        if self._handle is None:
            return
        cause = None if end.cause is None else end.cause[:MAX_CAUSE_CHARS]
        words = json.dumps({"status": end.status, "cause": cause, "ended_ms": end.ended_ms})
        with suppress(OSError):
            os.pwrite(self._handle, words.encode()[:ROOM_BYTES].ljust(ROOM_BYTES, b"\0"), 0)
            os.fsync(self._handle)
        self._close()

    def _close(self) -> None:
        """A process that was forked off does just this: the run is not its own."""
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None


def _locked(path: Path) -> int:
    """An open file that has the lock and is still the one of this path: who ended the run just now
    removes it."""
    while True:
        handle = os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            with suppress(FileNotFoundError):
                if os.stat(path).st_ino == os.fstat(handle).st_ino:
                    return handle
        except OSError as error:
            os.close(handle)
            if isinstance(error, BlockingIOError):
                raise LifeTakenError("another process runs this run already") from None
            raise
        os.close(handle)


_held: WeakSet[Life] = WeakSet()


def _let_go() -> None:
    for life in list(_held):
        life._close()


os.register_at_fork(after_in_child=_let_go)


class Lives:
    """Those of one workspace, below ``folder``; the log of a run lies beside."""

    def __init__(self, folder: Path, clock: Callable[[], float] = time.time) -> None:
        self._folder = folder
        self._clock = clock

    def log(self, id: str) -> Path:
        """What the run printed, or what was said of it."""
        return self._folder / f"{id}{LOG}"

    def hold(self, id: str) -> Life:
        """For the process of the run. Raises OSError, LifeTakenError."""
        self._folder.mkdir(exist_ok=True)  # workspaces of older versions have none
        return Life(self._path(id))

    def is_held(self, id: str) -> bool:
        """Whether a live process holds it. Looking takes a shared lock, so that two who look at the
        same time do not take each other for the process."""
        try:
            handle = os.open(self._path(id), os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return self._is_heard(id)
        except OSError:
            return True  # who may not look does not say that it is dead
        try:
            fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(handle)
        return False

    def last_words(self, id: str, started_ms: int) -> End:
        """How a run ended that nobody holds any more."""
        path, seen_ms = self._path(id), started_ms
        with suppress(OSError):
            heard_ms = self._lease(id).stat().st_mtime_ns // 1_000_000
            return End("failed", UNHEARD, max(started_ms, heard_ms))
        with suppress(OSError, ValueError, KeyError, TypeError):
            seen_ms = max(started_ms, path.stat().st_mtime_ns // 1_000_000)
            said = json.loads(path.read_bytes()[:ROOM_BYTES].rstrip(b"\0"))
            if said["status"] in ENDED:
                return End(said["status"], said["cause"], int(said["ended_ms"]))
        return End("failed", DEAD, seen_ms)

    def remove(self, id: str, *, log: bool = False) -> None:
        """The file of a run whose end the database has; what cannot be removed stays."""
        for path in (self._path(id), self._lease(id)):
            with suppress(OSError):
                path.unlink(missing_ok=True)
        if log:
            with suppress(OSError):
                self.log(id).unlink(missing_ok=True)

    def hear(self, id: str, *, is_new: bool = False) -> None:
        """Its process on another machine lives. Nothing for a run that is no such one, unless it
        ``is_new``. Raises OSError where that cannot be kept."""
        path, now_ns = self._lease(id), int(self._clock() * 1e9)
        if is_new:
            self._folder.mkdir(exist_ok=True)
            os.close(os.open(path, os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC, 0o600))
        with suppress(FileNotFoundError):
            os.utime(path, ns=(now_ns, now_ns))

    def hear_all(self) -> None:
        """Nobody could be heard until now: whoever lives has LEASE_S to speak."""
        now_ns = int(self._clock() * 1e9)
        with suppress(FileNotFoundError):
            for path in self._folder.glob(f"*{LEASE}"):
                with suppress(OSError):
                    os.utime(path, ns=(now_ns, now_ns))

    def _is_heard(self, id: str) -> bool:
        try:
            age_s = self._clock() - self._lease(id).stat().st_mtime
        except FileNotFoundError:
            return False
        return age_s < LEASE_S

    def _lease(self, id: str) -> Path:
        return self._folder / f"{id}{LEASE}"

    def _path(self, id: str) -> Path:
        return self._folder / f"{id}{LOCK}"
