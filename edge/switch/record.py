"""What is remembered of a module's way, in the agent's state.db: one row a module, written in full
before each step.
"""

from __future__ import annotations

import logging
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from edge.errors import NoSpaceError, PullError
from edge.messages.desired import HostKind, Module, Strategy
from edge.stock.port import ImageKind
from edge.switch.machine import State, after_restart

log = logging.getLogger(__name__)
SCHEMA = """
CREATE TABLE IF NOT EXISTS switch_modules (
    name TEXT PRIMARY KEY,
    record BLOB NOT NULL    -- JSON of Record
) WITHOUT ROWID;
"""


class Release(msgspec.Struct, frozen=True):
    """A version in service. ``runtime``: the image that its instance was started from; its bundle
    is that of ``module.digest``, which after a model-only update is another. ``host``: where.
    ``kind``: of both images."""

    module: Module
    runtime: str
    host: HostKind
    kind: ImageKind = "container"

    @property
    def digests(self) -> set[str]:
        """Images that it needs."""
        return {self.module.digest, self.runtime}

    @property
    def strategy(self) -> Strategy:
        """How it takes the place of the one before: two processes cannot have one board."""
        return "replace" if self.kind == "fpga" else self.module.update.strategy or "beside"


class Record(msgspec.Struct, frozen=True):
    """``live``: what is in service, or comes into it (SWITCHING, WATCHING: the new one).
    ``previous``: what did before, for a way back. ``failed``: what was tried last and given up,
    and why: it is not tried again. ``is_on_trial``: ``live`` may still go back to ``previous``."""

    state: str = State.IDLE.value
    live: Release | None = None
    previous: Release | None = None
    failed: Module | None = None
    error: str | None = None
    check: str | None = None
    is_on_trial: bool = False

    @property
    def at(self) -> State:
        """``state``, as such."""
        return State(self.state)

    @property
    def digests(self) -> set[str]:
        """Images that must stay."""
        return {d for each in (self.live, self.previous) if each is not None for d in each.digests}


class Records:
    """Threads may share it. Writing raises PullError, NoSpaceError for a full disk."""

    def __init__(self, path: Path) -> None:
        self._lock = threading.Lock()
        self._connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        self._connection.execute("PRAGMA journal_mode=WAL")
        self._connection.execute("PRAGMA synchronous=FULL")
        self._connection.execute("PRAGMA busy_timeout=10000")
        self._connection.executescript(SCHEMA)

    def close(self) -> None:
        """Its file."""
        with self._lock:
            self._connection.close()

    def load(self, name: str) -> Record:
        """Where to go on: an update that was being prepared begins again. A row that cannot be
        read is as if there were none: the module is installed anew."""
        with self._lock:
            row = self._connection.execute(
                "SELECT record FROM switch_modules WHERE name = ?", (name,)
            ).fetchone()
        if row is None:
            return Record()
        try:
            record = msgspec.json.decode(row[0], type=Record)
            state = after_restart(record.at, record.is_on_trial)
        except (msgspec.MsgspecError, ValueError) as error:
            log.error("%s: what was known of it cannot be read: %s", name, error)
            return Record()
        return msgspec.structs.replace(record, state=state.value)

    def put(self, name: str, record: Record) -> None:
        """Durable once it returns."""
        with self._writer() as connection:
            connection.execute(
                "INSERT INTO switch_modules VALUES (?, ?)"
                " ON CONFLICT (name) DO UPDATE SET record = excluded.record",
                (name, msgspec.json.encode(record)),
            )

    def names(self) -> set[str]:
        """Of all modules that were not removed."""
        with self._lock, _said():
            rows = self._connection.execute("SELECT name FROM switch_modules").fetchall()
        return {name for (name,) in rows}

    def hosts(self) -> set[str]:
        """Where modules are in service, or were before."""
        releases = [
            each for n in self.names() for r in (self.load(n),) for each in (r.live, r.previous)
        ]
        return {each.host for each in releases if each is not None}

    def remove(self, name: str) -> None:
        """The module is gone."""
        with self._writer() as connection:
            connection.execute("DELETE FROM switch_modules WHERE name = ?", (name,))

    @contextmanager
    def _writer(self) -> Iterator[sqlite3.Connection]:
        with self._lock, _said():
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield self._connection
                self._connection.execute("COMMIT")
            except BaseException:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise


@contextmanager
def _said() -> Iterator[None]:
    try:
        yield
    except sqlite3.ProgrammingError:  # closed: our own mistake
        raise
    except sqlite3.Error as error:
        if "full" in str(error):
            raise NoSpaceError(
                "no space is left on the device; free some", is_temporary=True
            ) from error
        raise PullError(
            f"the state of the modules cannot be written: {error}", is_temporary=True
        ) from error
