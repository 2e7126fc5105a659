"""A database that a process may fork with: a training script forks for its data loaders.

SQLite keeps its locks per process. A child that was forked off while a connection was open believes
that it has locks which it has not, and another process may then remove the journal under it. So a
fork waits, for a moment, until no thread of this process has a connection; connections that are
kept open between transactions are closed before it, and opened again after it.
"""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from weakref import WeakSet

from registry.database import BUSY_TIMEOUT_S, Database

MAX_WAIT_S = 10.0
"""How long a fork waits for a transaction that does not end."""


class ForkSafeDatabase(Database):
    """One database file; between ``keep`` and ``let_go`` it is kept open, which spares each
    transaction the opening and the closing of the journal: two thirds of its time."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._lock = threading.Lock()
        self._kept: sqlite3.Connection | None = None
        self._keepers = 0
        _databases.add(self)

    @contextmanager
    def read(self) -> Iterator[sqlite3.Connection]:
        """One consistent view. Raises RegistryErrors only."""
        with _gate.working(), super().read() as connection:
            yield connection

    @contextmanager
    def write(self) -> Iterator[sqlite3.Connection]:
        """One transaction: committed at the end, undone when the block raises."""
        with _gate.working():
            self._open_kept()
            with super().write() as connection:
                yield connection

    @contextmanager
    def held(self) -> Iterator[None]:
        """As of Database."""
        with _gate.working(), super().held():
            yield

    def keep(self) -> None:
        """Stay open, until ``let_go`` was called as often."""
        with self._lock:
            self._keepers += 1

    def let_go(self) -> None:
        """The opposite of ``keep``."""
        with self._lock:
            self._keepers -= 1
            if self._keepers <= 0:
                self._close_kept()

    def _open_kept(self) -> None:
        with self._lock, suppress(sqlite3.Error):
            if self._keepers > 0 and self._kept is None:
                self._kept = sqlite3.connect(
                    self._path,
                    timeout=BUSY_TIMEOUT_S,
                    isolation_level=None,
                    check_same_thread=False,  # any thread may fork
                )
                self._kept.execute("PRAGMA user_version").fetchone()

    def _close_kept(self) -> None:
        if self._kept is not None:
            with suppress(sqlite3.Error):
                self._kept.close()
            self._kept = None


class _Gate:
    """Threads work at the same time; a fork waits for all others, and those for it."""

    def __init__(self) -> None:
        self._changed = threading.Condition(threading.Lock())
        self._own = threading.local()
        self._working = 0
        self._is_forking = False

    @contextmanager
    def working(self) -> Iterator[None]:
        """For the block this thread has a connection."""
        depth = getattr(self._own, "depth", 0)
        changed = self._changed
        if depth == 0:
            with changed:
                changed.wait_for(lambda: not self._is_forking, MAX_WAIT_S)
                self._working += 1
        self._own.depth = depth + 1
        try:
            yield
        finally:
            self._own.depth = depth
            if depth == 0:
                with changed:
                    self._working -= 1
                    changed.notify_all()

    def before_fork(self) -> None:
        own = 1 if getattr(self._own, "depth", 0) else 0
        with self._changed:
            self._is_forking = True
            self._changed.wait_for(lambda: self._working <= own, MAX_WAIT_S)
        for database in list(_databases):
            with database._lock:
                database._close_kept()

    def after_in_parent(self) -> None:
        with self._changed:
            self._is_forking = False
            self._changed.notify_all()

    def after_in_child(self) -> None:
        self._changed = threading.Condition(threading.Lock())
        self._working = 1 if getattr(self._own, "depth", 0) else 0
        self._is_forking = False
        for database in list(_databases):
            database._lock = threading.Lock()
            database._kept = None
            database._keepers = 0


_databases: WeakSet[ForkSafeDatabase] = WeakSet()
_gate = _Gate()
os.register_at_fork(
    before=_gate.before_fork,
    after_in_parent=_gate.after_in_parent,
    after_in_child=_gate.after_in_child,
)
