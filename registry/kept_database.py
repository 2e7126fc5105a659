"""A database for a service, whose threads ask it all the time: connections stay open.

To open one costs a millisecond, most of it to read the schema; what a request asks takes a tenth of
that. A connection to a file that is no longer there, as after a restore, is not used again. Not for
a process that forks (registry/tracking/forks.py).
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from registry.database import Database, which_file
from registry.errors import RegistryError

File = tuple[int, int] | None

MOST = 32
"""Connections that are kept; those of more threads at the same time are closed after use."""


class KeptDatabase(Database):
    """One database file; ``close`` when the service ends."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._lock = threading.Lock()
        self._idle: list[tuple[File, sqlite3.Connection]] = []
        self._is_closed = False

    def close(self) -> None:
        """Close what is kept. What is asked later opens a connection for itself."""
        with self._lock:
            self._is_closed = True
            idle, self._idle = self._idle, []
        for _, connection in idle:
            connection.close()

    @contextmanager
    def _connection(self) -> Iterator[sqlite3.Connection]:
        file = which_file(self._path)
        connection = self._taken(file)
        if connection is None:
            connection = self._connect(is_of_thread=False)
        try:
            try:
                yield connection
            finally:
                if connection.in_transaction:  # it has only read, or is not to write after all
                    connection.execute("ROLLBACK")
        except RegistryError:  # "there is no such model": nothing is wrong with the connection
            self._give_back(file, connection)
            raise
        except BaseException:
            connection.close()
            raise
        self._give_back(file, connection)

    def _taken(self, file: File) -> sqlite3.Connection | None:
        """One to this file; those to others are closed."""
        with self._lock:
            if self._idle and self._idle[-1][0] == file:
                return self._idle.pop()[1]
            others, self._idle = self._idle, []
        for _, connection in others:
            connection.close()
        return None

    def _give_back(self, file: File, connection: sqlite3.Connection) -> None:
        with self._lock:
            if not self._is_closed and len(self._idle) < MOST:
                self._idle.append((file, connection))
                return
        connection.close()
