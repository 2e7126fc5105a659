"""A queue on disk, for any number of threads: one thread writes, and commits what has come while it
wrote before (group commit), so that many pay for one fsync.

    outbox = Outbox(state / "outbox.db", clock)
    outbox.append([NewRecord(0, "digits", "alarm", b'{"t": 71}')])        # returns once durable
    packet = outbox.packet(stream=0, after=0)                             # what to send
    outbox.acknowledge(0, packet.batch.last)                              # forgets it
    outbox.close()

A full disk loses nothing that was durable: ``append`` raises, what nobody waits for becomes a gap,
and both end when there is room. A damaged file is set aside, and what it still tells is kept.

intake.py: what waits for the thread. file.py: what it writes. reader.py: what is sent.
"""

from __future__ import annotations

import contextlib
import logging
import sqlite3
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from pathlib import Path

from edge.clock import DeviceClock
from edge.errors import OutboxError
from edge.messages.reported import OutboxReport
from edge.messages.telemetry import Batch
from edge.outbox import database
from edge.outbox.file import OutboxFile, reason_of
from edge.outbox.intake import Append, Intake, Work
from edge.outbox.packet import Packet
from edge.outbox.reader import Reader
from edge.outbox.record import (
    MAX_BATCH_BYTES,
    MAX_BODY_BYTES,
    STREAMS,
    NewRecord,
    OutboxSettings,
    check_body,
)
from edge.outbox.table import StreamState

RETRY_S = 1.0
AGAIN_S = 0.1
"""After a commit that failed."""
CLOSE_S = 60.0
log = logging.getLogger(__name__)


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
        self._clock = clock
        self._intake = Intake(self.settings)
        self._reader = Reader(path, clock, self._intake.found_damage)
        self._file = OutboxFile(path, clock, self.settings, self._intake, self._reader)
        self._last_error = ""
        self._next_expiry_s = time.monotonic() + self.settings.expire_s
        with contextlib.suppress(OutboxError):  # the thread tries again
            self._file.open()
        self._thread = threading.Thread(target=self._run, name="outbox", daemon=True)
        self._thread.start()

    @property
    def life(self) -> str:
        """Which file this is; "" as long as none could be opened."""
        return self._intake.life

    @property
    def streams(self) -> Mapping[int, StreamState]:
        """As of the last commit."""
        return self._file.streams

    def append(self, records: Sequence[NewRecord], *, wait: bool = True) -> list[int]:
        """Store records, all or none. With ``wait`` it returns once they are durable, with the
        number of each in its stream; without, it returns at once and with none, and what cannot be
        stored is counted in a gap. Raises OutboxError: not stored, and will not be."""
        if not records:
            return []
        for record in records:
            _check(record)
        job = Append(
            records,
            self._clock.stamp(),
            self._clock.wall_ms(),
            sum(record.size_bytes for record in records),
            Future() if wait else None,
        )
        self._intake.offer(job)
        return job.wait(self.settings.append_timeout_s)

    def batch(self, stream: int, after: int) -> Batch | None:
        """``packet`` without its bytes."""
        packet = self.packet(stream, after)
        return None if packet is None else packet.batch

    def packet(self, stream: int, after: int, max_bytes: int = MAX_BATCH_BYTES) -> Packet | None:
        """What follows number ``after`` of the stream (or its base, if that is higher), as much as
        a message may hold. None: nothing is there."""
        for _ in range(2):
            packet, has_expired = self._reader.packet(stream, after, max_bytes)
            if packet is not None:
                self._intake.sent(packet.batch.life, stream, packet.batch.last)
            if not has_expired:
                return packet
            self._intake.expire_now()
        return packet

    def acknowledge(self, stream: int, seq: int, life: str | None = None) -> bool:
        """Everything of the stream up to ``seq`` is durable at the hub: it will be deleted. Nothing
        when that was said before, or of another ``life``. False when the hub knows numbers that
        were never sent: this file is older than what the hub has seen (a restored disk, or one that
        did not keep its word), so a new life begins, with all that is here."""
        return self._intake.acknowledge(stream, seq, life)

    def note(self, name: str, value: bytes) -> None:
        """Keep something small; durable with a later commit."""
        self._intake.note(name, value)

    def noted(self, name: str) -> bytes | None:
        """What was kept."""
        found = self._intake.noted(name)
        return self._reader.note(name) if found is None else found

    def report(self) -> OutboxReport:
        """What waits, and what was dropped."""
        states = list(self._file.streams.values())
        return OutboxReport(
            records=sum(state.records for state in states),
            size_bytes=sum(state.size_bytes for state in states),
            oldest_age_s=self._reader.oldest_age_s(),
            dropped=sum(state.dropped for state in states) + sum(self._file.lost.values()),
        )

    def close(self) -> None:
        """Write what is queued, and end. Idempotent."""
        self._intake.close()
        self._thread.join(CLOSE_S)

    # The thread.

    def _run(self) -> None:
        while True:
            work = self._intake.take(self._until_expiry_s())
            try:
                self._work(work)
            except Exception:
                log.exception("the outbox could not write")
                self._fail(work.jobs, "it failed; the agent's log says why")
            if work.is_last:
                self._file.end()
                self._intake.end()
                return

    def _until_expiry_s(self) -> float:
        if self._file.lost or self._file.table is None:
            return RETRY_S
        return max(0.0, self._next_expiry_s - time.monotonic())

    def _work(self, work: Work) -> None:
        must_expire = work.must_expire or time.monotonic() >= self._next_expiry_s
        life, acks = self._intake.life, work.acks
        try:
            if work.is_damaged:
                self._file.replace()
            if self._file.table is None:
                self._file.open()
            if self._intake.life != life:
                acks = {}  # they are of the old one's numbers
            self._file.write(work.jobs, acks, work.notes, must_expire)
            self._last_error = ""
            if self.on_commit is not None and (work.jobs or self._intake.life != life):
                self.on_commit()
        except (sqlite3.Error, OutboxError, OSError) as error:
            self._undo(error, acks, work.notes)
            self._fail(work.jobs, reason_of(error))
        finally:
            if must_expire:
                self._next_expiry_s = time.monotonic() + self.settings.expire_s
                self._intake.expired()

    def _undo(self, error: Exception, acks: Mapping[int, int], notes: Mapping[str, bytes]) -> None:
        """After a commit that failed: what it would have kept is for the next."""
        if reason_of(error) != self._last_error:  # once, not ten times a second
            self._last_error = reason_of(error)
            log.warning("the outbox could not write: %s", self._last_error)
        self._file.undo(error)
        is_damage = isinstance(error, sqlite3.Error) and database.is_damage(error)
        if is_damage:
            self._intake.found_damage()
        self._intake.give_back(acks, notes, 0.0 if is_damage else AGAIN_S)

    def _fail(self, jobs: Sequence[Append], reason: str) -> None:
        lost = self._file.lost
        for job in jobs:
            if job.done is None:
                for record in job.records:
                    lost[record.stream] = lost.get(record.stream, 0) + 1
            else:
                job.answer(OutboxError(f"the outbox cannot be written: {reason}"))


def _check(record: NewRecord) -> None:
    """Raises OutboxError."""
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
