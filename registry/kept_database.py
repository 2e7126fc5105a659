"""A database for a service, whose threads ask it all the time: connections stay open.

To open one costs a millisecond, most of it to read the schema; what a request asks takes a tenth of
that. Not for a process that forks (registry/tracking/forks.py).
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from registry.database import Database

MOST = 32
"""Connections that are kept; those of more threads at the same time are closed after use."""


class KeptDatabase(Database):
    """One database file; ``close`` when the service ends."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._lock = threading.Lock()
        self._idle: list[sqlite3.Connection] = []
        self._is_closed = False

    def close(self) -> None:
        """Close what is kept. What is asked later opens a connection for itself."""
        with self._lock:
            self._is_closed = True
            idle, self._idle = self._idle, []
        for connection in idle:
            connection.close()

    @contextmanager
    def _connection(self) -> Iterator[sqlite3.Connection]:
        with self._lock:
            connection = self._idle.pop() if self._idle else None
        if connection is None:
            connection = self._connect(is_of_thread=False)
        try:
            yield connection
            if connection.in_transaction:  # it has only read
                connection.execute("ROLLBACK")
        except BaseException:
            connection.close()
            raise
        self._give_back(connection)

    def _give_back(self, connection: sqlite3.Connection) -> None:
        with self._lock:
            if not self._is_closed and len(self._idle) < MOST:
                self._idle.append(connection)
                return
        connection.close()
