"""The outbox's file as the thread sees it that writes: opened, written in transactions, made anew
when it is damaged, and emptied first when the disk is full.
"""

from __future__ import annotations

import contextlib
import json
import logging
import sqlite3
from collections.abc import Mapping
from pathlib import Path

from edge.clock import DeviceClock
from edge.errors import OutboxError
from edge.outbox import database, salvage, table
from edge.outbox.expiry import horizons
from edge.outbox.intake import Append, Intake
from edge.outbox.reader import Reader
from edge.outbox.record import NewRecord, OutboxSettings
from edge.outbox.reserve import Reserve
from edge.outbox.table import StreamState, Table

FULL = "the disk is full; make room"
SPARING_RECORDS = 100
SPARING_BYTES = 64 * 1024
PAGE_BYTES = 4096
RESTORED = "restored"
"""A note in a file that took the place of a damaged one: it has what that one told."""
log = logging.getLogger(__name__)


class OutboxFile:
    """``intake`` and ``reader`` are told when another file begins. ``streams``: as of the last
    commit. ``lost``: of each stream, records that could not be stored and are no gap yet."""

    def __init__(
        self,
        path: Path,
        clock: DeviceClock,
        settings: OutboxSettings,
        intake: Intake,
        reader: Reader,
    ) -> None:
        self.streams: Mapping[int, StreamState] = {}
        self.lost: dict[int, int] = {}
        self.table: Table | None = None
        self._sql: sqlite3.Connection | None = None
        self._path = path
        self._clock = clock
        self._settings = settings
        self._intake = intake
        self._reader = reader
        self._reserve = Reserve(path.with_name(path.name + ".reserve"), settings.reserve_bytes)

    def open(self) -> None:
        """Raises OutboxError."""
        try:
            self._open()
        except database.DamagedError as error:
            log.warning("the outbox is damaged (%s): what can be read of it is kept", error)
            self.replace()
        except (sqlite3.Error, OSError) as error:
            self.shut()
            if reason_of(error) == FULL and self._reserve.release():
                self.open()
                return
            raise OutboxError(f"the outbox cannot be opened: {reason_of(error)}") from error

    def replace(self) -> None:
        """A new file, a new life, and in it what the old one still tells. The old one is set aside
        once, however often the new one fails. Raises OutboxError."""
        self.shut()
        try:
            database.set_aside(self._path)
            self._intake.set_aside()
            self._open()
        except (sqlite3.Error, OSError, database.DamagedError) as error:
            self.shut()
            raise OutboxError(
                f"the damaged outbox cannot be replaced: {reason_of(error)}"
            ) from error

    def shut(self) -> None:
        """Until it is opened again."""
        self._reader.close()
        if self._sql is not None:
            with contextlib.suppress(sqlite3.Error):
                self._sql.close()
        self._sql = self.table = None

    def end(self) -> None:
        """In good order."""
        with contextlib.suppress(sqlite3.Error):
            if self._sql is not None:
                self._sql.execute("UPDATE file SET is_clean = 1")
        self.shut()

    def write(
        self,
        jobs: list[Append],
        acks: dict[int, int],
        notes: dict[str, bytes],
        must_expire: bool,
    ) -> None:
        """Durable once it returns, and each job has its answer. Raises sqlite3.Error, OSError,
        OutboxError: nothing of it is stored, but see ``undo``."""
        if self._reserve.hold():
            self._commit(jobs, acks, notes, must_expire)
        else:
            self._commit_sparing(jobs, acks, notes, must_expire)

    def undo(self, error: Exception) -> None:
        """After a ``write`` that failed: what is in the file counts."""
        if reason_of(error) == FULL:
            self._reserve.release()
        with contextlib.suppress(sqlite3.Error):
            if self._sql is not None and self._sql.in_transaction:
                self._sql.execute("ROLLBACK")
        with contextlib.suppress(sqlite3.Error):
            if self.table is not None:
                self.table.reload()

    def _commit(
        self,
        jobs: list[Append],
        acks: dict[int, int],
        notes: dict[str, bytes],
        must_expire: bool,
    ) -> None:
        if not (jobs or acks or notes or must_expire or self.lost):
            return
        assert self._sql is not None
        assert self.table is not None
        now = self._clock.stamp()
        self._sql.execute("BEGIN IMMEDIATE")
        for stream, seq in acks.items():
            self.table.acknowledge(stream, seq)
        for name, value in notes.items():
            self.table.note(name, value)
        if must_expire:
            self.table.expire(horizons(table.boots(self._sql), now, self._clock.hub_time_ms))
        for stream, count in self.lost.items():
            self.table.skip(stream, count, "full")
        answers = [self._append(job) for job in jobs]
        for stream in {record.stream for job in jobs for record in job.records}:
            if self._settings.streams[stream].on_full == "drop-oldest":
                self.table.trim(stream, self._settings.streams[stream])
        self.table.save(now)
        self._sql.execute("COMMIT")
        self.lost = {}
        self.streams = dict(self.table.streams)
        for job, answer in zip(jobs, answers, strict=True):
            job.answer(answer)

    def _commit_sparing(
        self,
        jobs: list[Append],
        acks: dict[int, int],
        notes: dict[str, bytes],
        must_expire: bool,
    ) -> None:
        """On a full disk: forget first, little by little, as each step takes room before it gives
        some; then take what fits into what was freed. Raises OutboxError."""
        assert self._sql is not None
        assert self.table is not None
        while any(seq >= self.table.streams[stream].base for stream, seq in acks.items()):
            bases = {stream: self.table.streams[stream].base for stream in acks}
            step = {n: min(seq, bases[n] + SPARING_RECORDS - 1) for n, seq in acks.items()}
            self._commit([], step, {}, False)
            self._sql.execute("PRAGMA wal_checkpoint(RESTART)").fetchall()
            if all(self.table.streams[stream].base == base for stream, base in bases.items()):
                break
        self._commit([], {}, notes, must_expire)
        (pages,) = self._sql.execute("PRAGMA freelist_count").fetchone()
        if jobs and pages * PAGE_BYTES < 2 * sum(job.size_bytes for job in jobs) + SPARING_BYTES:
            raise OutboxError(FULL)
        self._commit(jobs, {}, {}, False)
        self._sql.execute("PRAGMA wal_checkpoint(RESTART)").fetchall()

    def _append(self, job: Append) -> list[int] | OutboxError:
        """Raises sqlite3.Error; an error that concerns this job alone is returned."""
        assert self.table is not None
        if not job.begin():
            return []
        full = self._full_streams(job)
        if full and job.done is not None:
            return OutboxError(f"priority {min(full)} of the outbox is full; send less, or later")
        for stream, count in full.items():
            self.table.skip(stream, count, "full")
        taken = [(record.stream, record) for record in job.records if record.stream not in full]
        return self.table.append(taken, job.stamp, job.clock_ms)

    def _full_streams(self, job: Append) -> dict[int, int]:
        """Streams that reject what the job brings, and how many records that are."""
        assert self.table is not None
        full = {}
        for stream in {record.stream for record in job.records}:
            limits, state = self._settings.streams[stream], self.table.streams[stream]
            mine = [record.size_bytes for record in job.records if record.stream == stream]
            is_full = (
                state.records + len(mine) > limits.max_records
                or state.size_bytes + sum(mine) > limits.max_bytes
            )
            if limits.on_full == "reject" and is_full:
                full[stream] = len(mine)
        return full

    def _open(self) -> None:
        """Raises database.DamagedError, sqlite3.Error, OSError."""
        opened = database.open_database(self._path, self._clock.boot, self._settings.synchronous)
        self._sql = opened.connection
        self.table = Table(opened.connection)
        aside = database.aside_path(self._path)
        opened.connection.execute("BEGIN IMMEDIATE")
        self.table.forget_boots(self._clock.boot)
        self.table.add_boot(self._clock.boot, self._clock.mono_ms())
        if aside.exists() and table.note(opened.connection, RESTORED) is None:
            self._restore(opened.connection, aside)
        opened.connection.execute("COMMIT")
        self.streams = dict(self.table.streams)
        self._intake.begin_life(
            opened.life, {stream: each.next_seq - 1 for stream, each in self.streams.items()}
        )
        self._reader.open(opened.life)

    def _restore(self, connection: sqlite3.Connection, aside: Path) -> None:
        """What a file that was set aside still tells goes into this one, once; if the process is
        killed before that, the next one does it."""
        assert self.table is not None
        saved = salvage.restore(connection, aside)
        self.table.reload()
        self.table.append([(0, _event(saved))], self._clock.stamp(), self._clock.wall_ms())
        self.table.note(RESTORED, b"1")
        self.table.save()
        log.warning("the outbox begins a new life with %d records of the old one", saved)


def reason_of(error: Exception) -> str:
    """In words for a user."""
    if "disk is full" in str(error) or getattr(error, "errno", None) == 28:
        return FULL
    return str(error)


def _event(saved: int) -> NewRecord:
    body = json.dumps({"event": "outbox damaged", "saved": saved}).encode()
    return NewRecord(0, "agent", "event", body)
