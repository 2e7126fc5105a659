"""A database whose readers keep their connections: to open one costs more than most reads.

One to a file that is no longer there is not used: a token that the new file lacks is none.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from registry.database import Database, translate, which_file


class ServedDatabase(Database):
    """For a process that reads all the time; a connection per thread, closed with the thread."""

    _local = threading.local()

    @contextmanager
    def read(self) -> Iterator[sqlite3.Connection]:
        """One consistent view. Raises RegistryErrors only."""
        connection = self._kept()
        try:
            connection.execute("BEGIN")
            yield connection
        except sqlite3.Error as error:
            self._local.__dict__.pop(str(self._path), None)
            raise translate(error) from error
        finally:
            if connection.in_transaction:
                connection.execute("COMMIT")

    def _kept(self) -> sqlite3.Connection:
        kept = self._local.__dict__
        key = str(self._path)
        file = which_file(self._path)
        if key in kept and kept[key][0] != file:
            kept.pop(key)[1].close()
        if key not in kept:
            try:
                kept[key] = file, self._connect()
            except sqlite3.Error as error:
                raise translate(error) from error
        connection: sqlite3.Connection = kept[key][1]
        return connection
