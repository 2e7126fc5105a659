"""What waits to be written: any thread gives, one takes.

intake.offer(append)                # waits for room; raises OutboxError
intake.acknowledge(stream, seq)     # what need not be kept any longer
work = intake.take(wait_s)          # the writing thread: all that can be written together
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from dataclasses import dataclass

from edge.clock import Stamp
from edge.errors import OutboxError
from edge.outbox.record import NewRecord, OutboxSettings

log = logging.getLogger(__name__)
EXPIRY_S = 5.0
"""Who asks for what has expired to be dropped waits for it so long."""
COMMIT_S = 30.0
"""A commit that has begun is waited for, beyond the time that a caller has."""


@dataclass(slots=True)
class Append:
    """Records of one call. ``done``: who waits for them; None: nobody."""

    records: Sequence[NewRecord]
    stamp: Stamp
    clock_ms: int
    size_bytes: int
    done: Future[list[int]] | None

    def begin(self) -> bool:
        """Before it is written, once: from now on it is not taken back. False: it was."""
        return self.done is None or self.done.set_running_or_notify_cancel()

    def answer(self, answer: list[int] | OutboxError) -> None:
        """To whoever waits."""
        if self.done is None or self.done.done():
            return
        if isinstance(answer, OutboxError):
            self.done.set_exception(answer)
        else:
            self.done.set_result(answer)

    def wait(self, timeout_s: float) -> list[int]:
        """The numbers. Raises OutboxError; then it is not stored, and will not be: who is told so
        sends it again."""
        if self.done is None:
            return []
        try:
            return self.done.result(timeout_s)
        except FutureTimeoutError:
            if self.done.cancel():
                raise OutboxError(
                    "the outbox did not write in time; look at the device's disk"
                ) from None
        try:
            return self.done.result(COMMIT_S)
        except FutureTimeoutError:
            raise OutboxError(
                "the outbox has not ended to write this; the device's disk hangs"
            ) from None


@dataclass(frozen=True, slots=True)
class Work:
    """What to write together. ``is_damaged``: the file was found to be no good. ``is_last``: it was
    closed, and nothing else comes."""

    jobs: list[Append]
    acks: dict[int, int]
    notes: dict[str, bytes]
    must_expire: bool
    is_damaged: bool
    is_last: bool


class Intake:
    """``life``: of the file that numbers, and acknowledgements, belong to."""

    def __init__(self, settings: OutboxSettings) -> None:
        self.life = ""
        self._settings = settings
        self._changed = threading.Condition()
        self._queue: deque[Append] = deque()
        self._queued_bytes = 0
        self._sent: dict[int, int] = {}
        self._acks: dict[int, int] = {}
        self._notes: dict[str, bytes] = {}
        self._has_urgent = False
        self._must_expire = False
        self._expired = 0
        self._is_damaged = False
        self._is_closing = False

    # Any thread.

    def offer(self, job: Append) -> None:
        """Waits for room. Raises OutboxError."""
        with self._changed:
            has_room = self._changed.wait_for(
                lambda: (
                    self._is_closing
                    or not self._queue
                    or self._queued_bytes + job.size_bytes <= self._settings.max_queue_bytes
                ),
                timeout=self._settings.append_timeout_s,
            )
            if self._is_closing:
                raise OutboxError("the outbox is closed")
            if not has_room:
                raise OutboxError("more comes than the outbox can write; send less, or later")
            self._queue.append(job)
            self._queued_bytes += job.size_bytes
            self._has_urgent = self._has_urgent or job.done is not None
            self._changed.notify_all()

    def sent(self, life: str, stream: int, last: int) -> None:
        """Numbers up to ``last`` were given away: they may be acknowledged."""
        with self._changed:
            if life == self.life:
                self._sent[stream] = max(self._sent.get(stream, 0), last)

    def acknowledge(self, stream: int, seq: int, life: str | None) -> bool:
        """False: it was never sent, so the file must be an older one."""
        with self._changed:
            sent = self._sent.get(stream)
            if sent is None or life not in (None, self.life):
                return True
            if seq > sent:
                log.warning("the hub knows more of the outbox than it holds: it begins a new life")
                self._is_damaged = True
            elif seq > self._acks.get(stream, 0):
                self._acks[stream] = seq
            self._changed.notify_all()
            return seq <= sent

    def note(self, name: str, value: bytes) -> None:
        """To be kept with a later commit."""
        with self._changed:
            self._notes[name] = value
            self._changed.notify_all()

    def noted(self, name: str) -> bytes | None:
        """What is not kept yet."""
        with self._changed:
            return self._notes.get(name)

    def expire_now(self) -> None:
        """Have the writer drop what has expired, and wait for it."""
        with self._changed:
            self._must_expire, before = True, self._expired
            self._changed.notify_all()
            self._changed.wait_for(
                lambda: self._expired != before or self._is_closing, timeout=EXPIRY_S
            )

    def found_damage(self) -> None:
        """The file is to be given up."""
        with self._changed:
            self._is_damaged = True
            self._changed.notify_all()

    def close(self) -> None:
        """Nothing more is taken."""
        with self._changed:
            self._is_closing = True
            self._changed.notify_all()

    # The thread that writes.

    def take(self, wait_s: float) -> Work:
        """Waits for something, and then for more when nobody waits for it."""
        with self._changed:
            self._changed.wait_for(self._has_work, timeout=wait_s)
            self._changed.wait_for(self._is_urgent, timeout=self._settings.linger_s)
            jobs, count = [], 0
            while self._queue and count < self._settings.max_commit_records:
                job = self._queue.popleft()
                self._queued_bytes -= job.size_bytes
                count += len(job.records)
                jobs.append(job)
            self._has_urgent = any(job.done is not None for job in self._queue)
            acks, self._acks = self._acks, {}
            notes, self._notes = self._notes, {}
            must_expire, self._must_expire = self._must_expire, False
            self._changed.notify_all()
            is_last = self._is_closing and not self._queue
            return Work(jobs, acks, notes, must_expire, self._is_damaged, is_last)

    def expired(self) -> None:
        """What had expired is dropped, or could not be."""
        with self._changed:
            self._expired += 1
            self._changed.notify_all()

    def give_back(self, acks: Mapping[int, int], notes: Mapping[str, bytes], wait_s: float) -> None:
        """What could not be written is for the next time, which is not at once."""
        with self._changed:
            for stream, seq in acks.items():
                self._acks[stream] = max(seq, self._acks.get(stream, 0))
            self._notes = {**notes, **self._notes}
            if wait_s and not self._is_closing:
                self._changed.wait_for(lambda: self._is_closing, timeout=wait_s)

    def set_aside(self) -> None:
        """The damaged file is out of the way."""
        with self._changed:
            self._is_damaged = False

    def begin_life(self, life: str, sent: Mapping[int, int]) -> None:
        """A file was opened. Another one has other numbers: what was said of the old one's, also
        since it was set aside, is not true of these."""
        with self._changed:
            if life != self.life:
                self._acks = {}
            self.life = life
            self._sent = dict(sent)

    def end(self) -> None:
        """Whoever still waits is told."""
        with self._changed:
            for job in self._queue:
                job.answer(OutboxError("the outbox is closed"))
            self._queue.clear()
            self._changed.notify_all()

    def _has_work(self) -> bool:
        return bool(
            self._queue
            or self._acks
            or self._notes
            or self._must_expire
            or self._is_closing
            or self._is_damaged
        )

    def _is_urgent(self) -> bool:
        return (
            self._has_urgent
            or self._must_expire
            or self._is_closing
            or self._is_damaged
            or self._queued_bytes * 2 > self._settings.max_queue_bytes
        )
