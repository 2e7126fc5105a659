"""A queue on disk, for any number of threads: one thread writes, and commits what has come while it
wrote before (group commit), so that many pay for one fsync.

    outbox = Outbox(state / "outbox.db", clock)
    outbox.append([NewRecord(0, "digits", "alarm", b'{"t": 71}')])        # returns once durable
    packet = outbox.packet(stream=0, after=0)                             # what to send
    outbox.acknowledge(0, packet.batch.last)                              # forgets it
    outbox.close()

A full disk loses nothing that was durable: ``append`` raises, what nobody waits for becomes a gap,
and both end when there is room. A damaged file is set aside, and what it still tells is kept.
"""

from __future__ import annotations

import contextlib
import json
import logging
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from dataclasses import dataclass
from pathlib import Path

from edge.clock import DeviceClock, Stamp
from edge.errors import OutboxError
from edge.messages.reported import OutboxReport
from edge.messages.telemetry import Batch
from edge.outbox import database, salvage, table
from edge.outbox.expiry import horizons
from edge.outbox.packet import Packet, contents, pack
from edge.outbox.record import (
    MAX_BATCH_BYTES,
    MAX_BATCH_RECORDS,
    MAX_BODY_BYTES,
    STREAMS,
    NewRecord,
    OutboxSettings,
    check_body,
)
from edge.outbox.reserve import Reserve
from edge.outbox.table import StreamState, Table

RETRY_S = 1.0
FULL = "the disk is full; make room"
SPARING_RECORDS = 100
SPARING_BYTES = 64 * 1024
PAGE_BYTES = 4096
READ_FACTOR = 12
"""Telemetry seldom shrinks more than this: so much more than a batch's bytes is read for one."""
RESTORED = "restored"
"""A note in a file that took the place of a damaged one: it has what that one told."""
log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Append:
    records: Sequence[NewRecord]
    stamp: Stamp
    clock_ms: int
    size_bytes: int
    done: Future[list[int]] | None


class Outbox:
    """``clock``: stamps records, and says how old they are. ``on_commit`` is called by the writing
    thread after each commit that stored records, and must be quick."""

    def __init__(
        self,
        path: Path,
        clock: DeviceClock,
        settings: OutboxSettings | None = None,
        *,
        on_commit: Callable[[], None] | None = None,
    ) -> None:
        self.settings = settings or OutboxSettings()
        self.on_commit = on_commit
        self._path = path
        self._clock = clock
        self._life = ""
        self._streams: Mapping[int, StreamState] = {}
        self._sent: dict[int, int] = {}
        self._writer: sqlite3.Connection | None = None
        self._reader: sqlite3.Connection | None = None
        self._table: Table | None = None
        self._reading = threading.RLock()
        self._changed = threading.Condition()
        self._queue: deque[_Append] = deque()
        self._queued_bytes = 0
        self._acks: dict[int, int] = {}
        self._notes: dict[str, bytes] = {}
        self._lost: dict[int, int] = {}
        self._has_urgent = False
        self._must_expire = False
        self._expired = 0
        self._is_damaged = False
        self._is_closing = False
        self._last_error = ""
        self._reserve = Reserve(path.with_name(path.name + ".reserve"), self.settings.reserve_bytes)
        self._next_expiry_s = time.monotonic() + self.settings.expire_s
        with contextlib.suppress(OutboxError):  # the thread tries again
            self._open()
        self._thread = threading.Thread(target=self._run, name="outbox", daemon=True)
        self._thread.start()

    # What callers see.

    @property
    def life(self) -> str:
        """Which file this is; "" as long as none could be opened."""
        return self._life

    @property
    def streams(self) -> Mapping[int, StreamState]:
        """As of the last commit."""
        return self._streams

    def append(self, records: Sequence[NewRecord], *, wait: bool = True) -> list[int]:
        """Store records, all or none. With ``wait`` it returns once they are durable, with the
        number of each in its stream; without, it returns at once and with none, and what cannot be
        stored is counted in a gap. Raises OutboxError: not stored."""
        if not records:
            return []
        for record in records:
            if not 0 <= record.stream < STREAMS:
                raise OutboxError(f"there is no priority {record.stream}; use 0 to {STREAMS - 1}")
            if len(record.body) > MAX_BODY_BYTES:
                raise OutboxError(
                    f"a record of {len(record.body)} bytes is too large; at most {MAX_BODY_BYTES}"
                )
            try:
                check_body(record.body)
            except ValueError as error:
                raise OutboxError(f"the body of a record is no JSON: {error}") from None
        job = _Append(
            records,
            self._clock.stamp(),
            self._clock.wall_ms(),
            sum(record.size_bytes for record in records),
            Future() if wait else None,
        )
        self._enqueue(job)
        if job.done is None:
            return []
        try:
            return job.done.result(self.settings.append_timeout_s)
        except FutureTimeoutError:
            raise OutboxError(
                "the outbox did not write in time; look at the device's disk"
            ) from None

    def batch(self, stream: int, after: int) -> Batch | None:
        """``packet`` without its bytes."""
        packet = self.packet(stream, after)
        return None if packet is None else packet.batch

    def packet(self, stream: int, after: int, max_bytes: int = MAX_BATCH_BYTES) -> Packet | None:
        """What follows number ``after`` of the stream (or its base, if that is higher), as much as
        a message may hold. None: nothing is there."""
        for _ in range(2):
            packet, has_expired = self._read_packet(stream, after, max_bytes)
            if not has_expired:
                return packet
            self._expire_now()
        return packet

    def acknowledge(self, stream: int, seq: int) -> bool:
        """Everything of the stream up to ``seq`` is durable at the hub: it will be deleted. Nothing
        when that was said before. False when the hub knows numbers that were never sent: this file
        is older than what the hub has seen (a restored disk, or one that did not keep its word), so
        a new life begins, with all that is here."""
        sent = self._sent.get(stream)
        if sent is None:
            return True
        if seq > sent:
            log.warning("the hub knows more of the outbox than it holds: it begins a new life")
            with self._changed:
                self._is_damaged = True
                self._changed.notify_all()
            return False
        with self._changed:
            if seq > self._acks.get(stream, 0):
                self._acks[stream] = seq
                self._changed.notify_all()
        return True

    def note(self, name: str, value: bytes) -> None:
        """Keep something small; durable with a later commit."""
        with self._changed:
            self._notes[name] = value
            self._changed.notify_all()

    def noted(self, name: str) -> bytes | None:
        """What was kept."""
        with self._changed:
            if name in self._notes:
                return self._notes[name]
        with self._reading, contextlib.suppress(sqlite3.Error):
            return None if self._reader is None else table.note(self._reader, name)
        return None

    def report(self) -> OutboxReport:
        """What waits, and what was dropped."""
        states = list(self._streams.values())
        return OutboxReport(
            records=sum(state.records for state in states),
            size_bytes=sum(state.size_bytes for state in states),
            oldest_age_s=self._oldest_age_s(),
            dropped=sum(state.dropped for state in states) + sum(self._lost.values()),
        )

    def close(self) -> None:
        """Write what is queued, and end. Idempotent."""
        with self._changed:
            self._is_closing = True
            self._changed.notify_all()
        self._thread.join(60)

    # Reading.

    def _read_packet(self, stream: int, after: int, max_bytes: int) -> tuple[Packet | None, bool]:
        """(packet, whether one of its records has expired)."""
        with self._reading:
            if self._reader is None:
                return None, False
            try:
                self._reader.execute("BEGIN")
                try:
                    return self._read_within(self._reader, stream, after, max_bytes)
                finally:
                    self._reader.execute("COMMIT")
            except sqlite3.Error as error:
                self._note_damage(error)
                return None, False

    def _read_within(
        self, reader: sqlite3.Connection, stream: int, after: int, max_bytes: int
    ) -> tuple[Packet | None, bool]:
        state = table.streams(reader)[stream]
        after = max(after, state.base - 1)
        until = state.next_seq - 1
        if until <= after:
            return None, False
        limit, plain = MAX_BATCH_RECORDS, max_bytes * READ_FACTOR
        rows = table.rows_after(reader, stream, after, limit, plain)
        gaps = table.gaps_after(reader, stream, after, limit)
        if len(rows) == limit or sum(len(row.body) for row in rows) >= plain:
            until = rows[-1].seq
        if len(gaps) == limit:
            until = min(until, gaps[-1].last)
        boots = table.boots(reader)
        now = horizons(boots, self._clock.stamp(), self._clock.hub_time_ms)
        if any(row.until_ms is not None and row.until_ms < now.get(row.boot, 0) for row in rows):
            return None, True
        packet = pack(
            contents(rows, gaps, after, until),
            life=self._life,
            stream=stream,
            base=state.base,
            boots={boot.id: boot.boot for boot in boots},
            hub_time_ms=self._clock.hub_time_ms,
            max_bytes=max_bytes,
        )
        if packet is not None:
            self._sent[stream] = max(self._sent.get(stream, 0), packet.batch.last)
        return packet, False

    def _oldest_age_s(self) -> float | None:
        with self._reading, contextlib.suppress(sqlite3.Error):
            if self._reader is None or (found := table.oldest(self._reader)) is None:
                return None
            now = horizons(table.boots(self._reader), self._clock.stamp(), self._clock.hub_time_ms)
            return max(0, now.get(found[0], found[1]) - found[1]) / 1000
        return None

    def _expire_now(self) -> None:
        """Have the writer drop what has expired, and wait for it."""
        with self._changed:
            self._must_expire, before = True, self._expired
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._expired != before or self._is_closing, timeout=5)

    def _note_damage(self, error: sqlite3.Error) -> None:
        if database.is_damage(error):
            with self._changed:
                self._is_damaged = True
                self._changed.notify_all()

    # Writing: only the thread.

    def _enqueue(self, job: _Append) -> None:
        with self._changed:
            has_room = self._changed.wait_for(
                lambda: (
                    self._is_closing
                    or not self._queue
                    or self._queued_bytes + job.size_bytes <= self.settings.max_queue_bytes
                ),
                timeout=self.settings.append_timeout_s,
            )
            if self._is_closing:
                raise OutboxError("the outbox is closed")
            if not has_room:
                raise OutboxError("more comes than the outbox can write; send less, or later")
            self._queue.append(job)
            self._queued_bytes += job.size_bytes
            self._has_urgent = self._has_urgent or job.done is not None
            self._changed.notify_all()

    def _run(self) -> None:
        while True:
            jobs, acks, notes, is_last = self._take()
            try:
                self._work(jobs, acks, notes)
            except Exception:
                log.exception("the outbox could not write")
                self._fail(jobs, "it failed; the agent's log says why")
            if is_last:
                self._end()
                return

    def _take(self) -> tuple[list[_Append], dict[int, int], dict[str, bytes], bool]:
        """What to write together. Waits for something, and then for more when nobody waits for
        it."""
        with self._changed:
            self._changed.wait_for(self._has_work, timeout=self._until_expiry_s())
            self._changed.wait_for(self._is_urgent, timeout=self.settings.linger_s)
            jobs, count = [], 0
            while self._queue and count < self.settings.max_commit_records:
                job = self._queue.popleft()
                self._queued_bytes -= job.size_bytes
                count += len(job.records)
                jobs.append(job)
            self._has_urgent = any(job.done is not None for job in self._queue)
            acks, self._acks = self._acks, {}
            notes, self._notes = self._notes, {}
            self._changed.notify_all()
            return jobs, acks, notes, self._is_closing and not self._queue

    def _has_work(self) -> bool:
        return (
            bool(self._queue or self._acks or self._notes or self._must_expire or self._is_closing)
            or self._is_damaged
        )

    def _is_urgent(self) -> bool:
        return (
            self._has_urgent
            or self._must_expire
            or self._is_closing
            or self._is_damaged
            or self._queued_bytes * 2 > self.settings.max_queue_bytes
        )

    def _until_expiry_s(self) -> float:
        if self._lost or self._table is None:
            return RETRY_S
        return max(0.0, self._next_expiry_s - time.monotonic())

    def _work(self, jobs: list[_Append], acks: dict[int, int], notes: dict[str, bytes]) -> None:
        must_expire = self._must_expire or time.monotonic() >= self._next_expiry_s
        try:
            if self._is_damaged:
                self._recover()
            if self._table is None:
                self._open()
            if self._reserve.hold():
                self._commit(jobs, acks, notes, must_expire)
            else:
                self._commit_sparing(jobs, acks, notes, must_expire)
        except (sqlite3.Error, OutboxError, OSError) as error:
            self._undo(error, acks, notes)
            self._fail(jobs, _reason(error))
        finally:
            if must_expire:
                with self._changed:
                    self._must_expire = False
                    self._expired += 1
                    self._next_expiry_s = time.monotonic() + self.settings.expire_s
                    self._changed.notify_all()

    def _commit(
        self,
        jobs: list[_Append],
        acks: dict[int, int],
        notes: dict[str, bytes],
        must_expire: bool,
    ) -> None:
        if not (jobs or acks or notes or must_expire or self._lost):
            return
        assert self._writer is not None
        assert self._table is not None
        now = self._clock.stamp()
        self._writer.execute("BEGIN IMMEDIATE")
        for stream, seq in acks.items():
            self._table.acknowledge(stream, seq)
        for name, value in notes.items():
            self._table.note(name, value)
        if must_expire:
            found = horizons(table.boots(self._writer), now, self._clock.hub_time_ms)
            self._table.expire(found)
        for stream, count in self._lost.items():
            self._table.skip(stream, count, "full")
        answers = [self._append(job) for job in jobs]
        for stream in {record.stream for job in jobs for record in job.records}:
            if self.settings.streams[stream].on_full == "drop-oldest":
                self._table.trim(stream, self.settings.streams[stream])
        self._table.save(now)
        self._writer.execute("COMMIT")
        self._lost = {}
        self._last_error = ""
        self._streams = dict(self._table.streams)
        for job, answer in zip(jobs, answers, strict=True):
            _answer(job, answer)
        if jobs and self.on_commit is not None:
            self.on_commit()

    def _commit_sparing(
        self,
        jobs: list[_Append],
        acks: dict[int, int],
        notes: dict[str, bytes],
        must_expire: bool,
    ) -> None:
        """On a full disk: forget first, little by little, as each step takes room before it gives
        some; then take what fits into what was freed. Raises OutboxError."""
        assert self._writer is not None
        assert self._table is not None
        while any(seq >= self._table.streams[stream].base for stream, seq in acks.items()):
            bases = {stream: self._table.streams[stream].base for stream in acks}
            step = {n: min(seq, bases[n] + SPARING_RECORDS - 1) for n, seq in acks.items()}
            self._commit([], step, {}, False)
            self._writer.execute("PRAGMA wal_checkpoint(RESTART)").fetchall()
            if all(self._table.streams[stream].base == base for stream, base in bases.items()):
                break
        self._commit([], {}, notes, must_expire)
        (pages,) = self._writer.execute("PRAGMA freelist_count").fetchone()
        if jobs and pages * PAGE_BYTES < 2 * sum(job.size_bytes for job in jobs) + SPARING_BYTES:
            raise OutboxError(FULL)
        self._commit(jobs, {}, {}, False)
        self._writer.execute("PRAGMA wal_checkpoint(RESTART)").fetchall()

    def _append(self, job: _Append) -> list[int] | OutboxError:
        """Raises sqlite3.Error; an error that concerns this job alone is returned."""
        assert self._table is not None
        full = self._full_streams(job)
        if full and job.done is not None:
            return OutboxError(f"priority {min(full)} of the outbox is full; send less, or later")
        for stream, count in full.items():
            self._table.skip(stream, count, "full")
        taken = [(record.stream, record) for record in job.records if record.stream not in full]
        return self._table.append(taken, job.stamp, job.clock_ms)

    def _full_streams(self, job: _Append) -> dict[int, int]:
        """Streams that reject what the job brings, and how many records that are."""
        assert self._table is not None
        full = {}
        for stream in {record.stream for record in job.records}:
            limits, state = self.settings.streams[stream], self._table.streams[stream]
            mine = [record.size_bytes for record in job.records if record.stream == stream]
            is_full = (
                state.records + len(mine) > limits.max_records
                or state.size_bytes + sum(mine) > limits.max_bytes
            )
            if limits.on_full == "reject" and is_full:
                full[stream] = len(mine)
        return full

    def _undo(self, error: Exception, acks: dict[int, int], notes: dict[str, bytes]) -> None:
        """After a commit that failed: what it would have kept is for the next."""
        if _reason(error) != self._last_error:  # once, not ten times a second
            self._last_error = _reason(error)
            log.warning("the outbox could not write: %s", self._last_error)
        if _reason(error) == FULL:
            self._reserve.release()
        with contextlib.suppress(sqlite3.Error):
            if self._writer is not None and self._writer.in_transaction:
                self._writer.execute("ROLLBACK")
        with contextlib.suppress(sqlite3.Error):
            if self._table is not None:
                self._table.reload()
        with self._changed:
            for stream, seq in acks.items():
                self._acks[stream] = max(seq, self._acks.get(stream, 0))
            self._notes = {**notes, **self._notes}
            if isinstance(error, sqlite3.Error) and database.is_damage(error):
                self._is_damaged = True
            elif not self._is_closing:
                self._changed.wait_for(lambda: self._is_closing, timeout=0.1)

    def _fail(self, jobs: list[_Append], reason: str) -> None:
        for job in jobs:
            if job.done is None:
                for record in job.records:
                    self._lost[record.stream] = self._lost.get(record.stream, 0) + 1
            else:
                _answer(job, OutboxError(f"the outbox cannot be written: {reason}"))

    # The file.

    def _open(self) -> None:
        """Raises OutboxError."""
        try:
            self._open_once()
        except database.DamagedError as error:
            log.warning("the outbox is damaged (%s): what can be read of it is kept", error)
            self._recover()
        except (sqlite3.Error, OSError) as error:
            self._shut()
            if _reason(error) == FULL and self._reserve.release():
                self._open()
                return
            raise OutboxError(f"the outbox cannot be opened: {_reason(error)}") from error

    def _open_once(self) -> None:
        opened = database.open_database(self._path, self._clock.boot, self.settings.synchronous)
        self._writer = opened.connection
        self._table = Table(opened.connection)
        aside = database.aside_path(self._path)
        opened.connection.execute("BEGIN IMMEDIATE")
        self._table.forget_boots(self._clock.boot)
        self._table.add_boot(self._clock.boot, self._clock.mono_ms())
        if aside.exists() and table.note(opened.connection, RESTORED) is None:
            self._restore(opened.connection, aside)
        opened.connection.execute("COMMIT")
        with self._reading:
            self._reader = database.connect(self._path)
            self._life = opened.life
            self._streams = dict(self._table.streams)
            self._sent = {
                stream: state.next_seq - 1 for stream, state in self._table.streams.items()
            }

    def _restore(self, connection: sqlite3.Connection, aside: Path) -> None:
        """What a file that was set aside still tells goes into this one, once; if the process is
        killed before that, the next one does it."""
        assert self._table is not None
        saved = salvage.restore(connection, salvage.read(aside))
        self._table.reload()
        self._table.append([(0, _event(saved))], self._clock.stamp(), self._clock.wall_ms())
        self._table.note(RESTORED, b"1")
        self._table.save()
        log.warning("the outbox begins a new life with %d records of the old one", saved)

    def _recover(self) -> None:
        """A new file, a new life, and in it what the old one still tells. Raises OutboxError."""
        with self._changed:
            self._acks = {}
        self._shut()
        try:
            database.set_aside(self._path)
            self._open_once()
        except (sqlite3.Error, OSError, database.DamagedError) as error:
            self._shut()
            raise OutboxError(f"the damaged outbox cannot be replaced: {error}") from error
        self._is_damaged = False
        if self.on_commit is not None:
            self.on_commit()

    def _shut(self) -> None:
        with self._reading:
            for connection in (self._reader, self._writer):
                if connection is not None:
                    with contextlib.suppress(sqlite3.Error):
                        connection.close()
            self._reader = self._writer = self._table = None

    def _end(self) -> None:
        with contextlib.suppress(sqlite3.Error):
            if self._writer is not None:
                self._writer.execute("UPDATE file SET is_clean = 1")
        self._shut()
        with self._changed:
            for job in self._queue:
                _answer(job, OutboxError("the outbox is closed"))
            self._queue.clear()
            self._changed.notify_all()


def _event(saved: int) -> NewRecord:
    body = json.dumps({"event": "outbox damaged", "saved": saved}).encode()
    return NewRecord(0, "agent", "event", body)


def _answer(job: _Append, answer: list[int] | OutboxError) -> None:
    if job.done is None or job.done.done():
        return
    if isinstance(answer, OutboxError):
        job.done.set_exception(answer)
    else:
        job.done.set_result(answer)


def _reason(error: Exception) -> str:
    if "disk is full" in str(error) or getattr(error, "errno", None) == 28:
        return FULL
    return str(error)
