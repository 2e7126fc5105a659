"""Runs whose process is on another machine, and speaks through a service.

    record = distant.begin(id, "digits", client=client)
    distant.log(id, client=client, number=1, points=[("loss", 0.5, 0, 1764230400000)])
    distant.beat(id)                          # every few seconds

Such a process holds no lock here. It lives while it is heard of (``Lives.hear``), and for LEASE_S
after that. Whoever reads later finds that it ended, as of a process that held a lock; but one that
is heard of again lives again: it was the network that was gone.

A client that got no answer asks again. So it chooses the id of its run, and numbers what it logs
from 1 on: what has a number that was there already is not written again. A client that logs from
several threads at once is as many clients.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from registry.blobs import disk_errors_said
from registry.database import Database
from registry.errors import InvalidNameError, TargetExistsError
from registry.tracking import metrics, run_rows, search
from registry.tracking.lives import MAX_CAUSE_CHARS, UNHEARD, End, Lives
from registry.tracking.making import NewRun, insert
from registry.tracking.now import NowMs
from registry.tracking.points import check_points
from registry.tracking.records import Point, RunRecord, Value
from registry.tracking.settling import write_end
from registry.tracking.words import (
    check_document,
    check_id,
    check_integer,
    check_key,
    check_kind,
)

MAX_CLIENT_CHARS = 64
Ended = Literal["finished", "failed", "killed"]


@dataclass(frozen=True, slots=True)
class Heard:
    """What a process is told that says that it lives."""

    is_cancelled: bool
    has_ended: bool


class DistantRuns:
    """Those of one workspace."""

    def __init__(self, database: Database, lives: Lives, now_ms: NowMs) -> None:
        self._database = database
        self._lives = lives
        self._now_ms = now_ms

    def begin(
        self,
        id: str,
        experiment: str | int,
        *,
        client: str,
        name: str = "",
        parent: str | None = None,
        user: str = "",
        source: str = "",
        started_ms: int | None = None,
    ) -> RunRecord:
        """The new run ``id``, as ``Runs.begin``; again, if this client began it before. Raises as
        ``Runs.create``, and TargetExistsError where another client's run has this id."""
        new = NewRun(experiment, name, parent, user, source, "running", started_ms)
        new.check()
        check_id(id)
        _check_client(client)
        with disk_errors_said(), self._database.write() as connection:
            row = connection.execute("SELECT key FROM runs WHERE id = ?", (id,)).fetchone()
            if row is not None:
                if _last_number(connection, row[0], client) is None:
                    raise TargetExistsError(f"there is a run {id} already")
                return _record(connection, row[0])
            key = insert(connection, new, id, self._now_ms(), has_life=True)
            connection.execute("INSERT INTO log_batches VALUES (?, ?, 0)", (key, client))
            self._lives.hear(id, is_new=True)
            return _record(connection, key)

    def log(
        self,
        id: str,
        *,
        client: str,
        number: int,
        points: Sequence[Point] = (),
        values: Sequence[Value] = (),
        lines: str = "",
    ) -> bool:
        """All of it, or nothing; whether it was not there already. ``lines`` go to the run's log.
        Raises NotFoundError, InvalidNameError."""
        check_id(id)
        _check_client(client)
        if number < 1:
            raise InvalidNameError(f"what is logged has a number from 1 on, not {number}")
        check_points(points)
        for key, kind, at_ms, document in values:
            check_kind(kind)
            check_document(document, check_key(key, "metric"))
            check_integer(at_ms, f"the time of '{key}'")
        self._lives.hear(id)
        with self._database.write() as connection:
            run = run_rows.key_of(connection, id)
            last = _last_number(connection, run, client)
            if last is not None and number <= last:
                return False
            connection.execute(
                "INSERT OR REPLACE INTO log_batches VALUES (?, ?, ?)", (run, client, number)
            )
            if points:
                metrics.write_points(connection, run, points)
            if values:
                metrics.write_values(connection, run, values)
            if lines:
                _add_lines(self._lives.log(id), lines)
        return True

    def beat(self, id: str) -> Heard:
        """Its process lives: one that was believed dead, too. Raises NotFoundError."""
        check_id(id)
        self._lives.hear(id)
        with self._database.read() as connection:
            run = _record(connection, run_rows.key_of(connection, id))
        if run.status == "failed" and run.cause == UNHEARD:
            run = self._revive(id)
        return Heard(run.cancel_requested, run.has_ended)

    def end(self, id: str, status: Ended, *, cause: str | None, ended_ms: int) -> RunRecord:
        """How it ended. Raises NotFoundError."""
        check_id(id)
        check_integer(ended_ms, "the time of the end")
        end = End(status, None if cause is None else cause[:MAX_CAUSE_CHARS], ended_ms)
        with self._database.write() as connection:
            key = run_rows.key_of(connection, id)
            write_end(connection, key, end)
            record = _record(connection, key)
        self._lives.remove(id)
        return record

    def _revive(self, id: str) -> RunRecord:
        with disk_errors_said(), self._database.write() as connection:
            key = run_rows.key_of(connection, id)
            connection.execute(
                "UPDATE runs SET status = 'running', cause = NULL, ended_ms = NULL, has_life = 1"
                " WHERE key = ? AND status = 'failed' AND cause = ?",
                (key, UNHEARD),
            )
            self._lives.hear(id, is_new=True)
            return _record(connection, key)


def _check_client(client: str) -> None:
    if not (0 < len(client) <= MAX_CLIENT_CHARS and client.isascii() and client.isprintable()):
        raise InvalidNameError(f"a client has a name of 1 to {MAX_CLIENT_CHARS} ASCII characters")


def _last_number(connection: sqlite3.Connection, run: int, client: str) -> int | None:
    row = connection.execute(
        "SELECT number FROM log_batches WHERE run = ? AND client = ?", (run, client)
    ).fetchone()
    return None if row is None else int(row[0])


def _add_lines(path: Path, lines: str) -> None:
    """To the log of a run, which has a bound."""
    from registry.activities.log import MAX_LOG_BYTES, ActivityLog
    from registry.clock import utc_now

    *first, last = lines.splitlines() or [""]
    room = MAX_LOG_BYTES - (path.stat().st_size if path.exists() else 0)
    if room > 0:
        log = ActivityLog(path, utc_now, max_bytes=room)
        for line in first:
            log.add(line)
        log.end(last)


def _record(connection: sqlite3.Connection, key: int) -> RunRecord:
    return search.records(connection, [key])[0]
