"""Takes what a run logs at once, and writes it in the background, many values at a time.

A value is safe once ``flush`` or ``close`` returned True: before, it is in this process's memory.
The queue is bounded. Full, it makes the run wait while writing gets on, for ``patience_s`` at most;
what then finds no room is lost, counted, and said. Writing that fails is tried again, ever less
often, and keeps what it has. Where there is a spool, a full queue goes on in a file (spool.py), and
nobody waits.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import TypeGuard, cast
from weakref import WeakSet

from registry.errors import ImmutableError
from registry.tracking import Point, Value
from runtime.tracking.keeper import Batch
from runtime.tracking.spool import Item, Spool

Write = Callable[[Sequence[Point], Sequence[Value]], None]
CAPACITY = 200_000
BATCH = 20_000
WAKE_AT = 2_000
EVERY_S = 0.5
BEAT_S = 5.0
PATIENCE_S = 10.0
RETRY_S = (1.0, 2.0, 5.0, 15.0)
MAX_QUEUED_CHARS = 64 * 1024 * 1024
"""Of values that are no numbers: they may be large."""


class Writer:
    """The queue of one run. ``write`` raises where it cannot; ``beat`` is called now and then
    while the run lives, ``first`` once, before anything is written; what these raise does not
    matter."""

    def __init__(
        self,
        write: Write,
        *,
        first: Callable[[], None] = lambda: None,
        beat: Callable[[], None] = lambda: None,
        say: Callable[[str], None] = lambda line: None,
        capacity: int = CAPACITY,
        every_s: float = EVERY_S,
        beat_s: float = BEAT_S,
        patience_s: float = PATIENCE_S,
        spool: Spool | None = None,
    ) -> None:
        self._write = write
        self._first = first
        self._beat = beat
        self._say = say
        self._capacity = capacity
        self._every_s = every_s
        self._beat_s = beat_s
        self._patience_s = patience_s
        self._spool = spool
        self.lost = 0
        self._changed = threading.Condition(threading.Lock())
        self._queue: deque[Item] = deque()
        self._batch: list[Item] = []
        self._chars = 0
        self._accepted = 0
        self._written = 0
        self._failures = 0
        self._failures_in_a_row = 0
        self._error: Exception | None = None
        self._thread: threading.Thread | None = None
        self._is_urgent = False
        self._is_closing = False
        self._is_given_up = False
        self._is_forked = False
        _writers.add(self)

    def __repr__(self) -> str:
        return (
            f"Writer(accepted={self._accepted}, written={self._written}, lost={self.lost},"
            f" error={self._error!r})"
        )

    def start(self) -> None:
        """Begin to work in the background; ``put`` does this too."""
        with self._changed:
            self._start()

    def put(self, item: Item) -> bool:
        """Take one value; False where it is lost. Raises ImmutableError after ``close``."""
        size = len(item[3]) if _is_text(item) else 0
        with self._changed:
            if self._is_closing:
                raise ImmutableError("the run has ended; what is logged now cannot be kept")
            if self._spool is not None and (self._spool or self._is_full(size)):
                if not self._spool.put(item):
                    self._lose()
                    return False
            elif self._is_full(size) and not self._wait_for_room(size):
                return False
            else:
                self._queue.append(item)
                self._chars += size
            self._accepted += 1
            if self._thread is None:
                self._start()
            elif len(self._queue) == WAKE_AT:
                self._changed.notify_all()
        return True

    def flush(self, timeout_s: float | None = None) -> bool:
        """Wait until all that was put before is written: True. False where that fails or takes
        longer; it is tried again in the background."""
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        with self._changed:
            target, failures = self._accepted, self._failures
            if self._thread is None and self._written < target:
                self._start()
            self._is_urgent = True
            self._changed.notify_all()
            while self._written < target and self._failures == failures:
                left = None if deadline is None else deadline - time.monotonic()
                if self._thread is None or not self._thread.is_alive():
                    break
                if left is not None and left <= 0:
                    return False
                self._changed.wait(left)
            if self._written >= target or self._failures != failures:
                return self._written >= target
        while self._written < target and self._failures == failures:
            self._step()  # in a process that ends, which can start no thread
        return self._written >= target

    def close(self, timeout_s: float | None = None) -> bool:
        """Write the rest and end. Whether nothing was lost."""
        self.flush(timeout_s)
        with self._changed:
            self._is_closing = True
            self._changed.notify_all()
            thread = self._thread
        if thread is not None:
            thread.join(timeout_s)
        with self._changed:
            self.lost += self._accepted - self._written
            self._accepted = self._written
            if self._spool is not None and not self._spool:
                self._spool.forget()
        _writers.discard(self)
        return self.lost == 0

    def left(self) -> list[Batch]:
        """After ``close``: what was not written, in order, the batch first that may have been
        written without our knowledge. It is somebody else's from now on."""
        with self._changed:
            self._is_given_up = True
            batches = [self._batch]
            while True:
                count = min(len(self._queue), BATCH)
                batches.append([self._queue.popleft() for _ in range(count)])
                if not batches[-1]:
                    break
                self._refill()
            self._batch = []
            if self._spool is not None:
                self._spool.forget()
        return [_split(batch) for batch in batches if batch]

    @property
    def error(self) -> Exception | None:
        """Why writing fails at present."""
        return self._error

    def _forked(self) -> None:
        """In a process that was forked off: the queue is the parent's to write, and no thread
        works here until something is put."""
        self._changed = threading.Condition(threading.Lock())
        self._queue.clear()
        self._batch = []
        if self._spool is not None:
            self._spool.forget()
        self._chars = self._accepted = self._written = self._failures = 0
        self._error = self._thread = None
        self._is_urgent = False
        self._is_forked = True
        self._first = lambda: None

    def _start(self) -> None:
        if self._thread is None and not self._is_closing:
            thread = threading.Thread(target=self._work, name="inferry-run", daemon=True)
            try:
                thread.start()
            except RuntimeError:  # the interpreter is about to end: flush writes itself
                return
            self._thread = thread
            if self._is_forked:
                _flush_at_end(self)

    def _is_full(self, size: int) -> bool:
        return len(self._queue) >= self._capacity or self._chars + size > MAX_QUEUED_CHARS

    def _wait_for_room(self, size: int) -> bool:
        deadline = time.monotonic() + self._patience_s
        while self._is_full(size):
            left = deadline - time.monotonic()
            if self._error is not None or left <= 0 or self._thread is None:
                self._lose()
                return False
            self._is_urgent = True
            self._changed.notify_all()
            self._changed.wait(left)
        return True

    def _lose(self) -> None:
        self.lost += 1
        if self.lost == 1:
            self._say(
                "more is logged than can be written: values are lost from now on"
                f" ({_reason(self._error)})"
            )

    def _refill(self) -> None:
        """From the spool, in the order in which they came."""
        while self._spool and len(self._queue) < BATCH:
            for item in self._spool.take():
                self._queue.append(item)
                self._chars += len(item[3]) if _is_text(item) else 0

    def _work(self) -> None:
        with suppress(Exception):
            self._first()
        next_beat_s = 0.0
        while True:
            with self._changed:
                if not (self._is_urgent or self._is_closing or len(self._queue) >= WAKE_AT):
                    self._changed.wait(self._pause_s())
                if self._is_given_up:
                    return
                if self._is_closing and not self._queue and not self._batch:
                    return
                has_failed_at_close = self._is_closing and self._error is not None
            if has_failed_at_close:
                return
            if time.monotonic() >= next_beat_s:
                with suppress(Exception):
                    self._beat()
                next_beat_s = time.monotonic() + self._beat_s
            self._step()

    def _pause_s(self) -> float:
        if self._error is None:
            return self._every_s
        return RETRY_S[min(self._failures_in_a_row, len(RETRY_S)) - 1]

    def _step(self) -> None:
        """Write one batch."""
        with self._changed:
            if not self._batch:
                count = min(len(self._queue), BATCH)
                self._batch = [self._queue.popleft() for _ in range(count)]
                self._refill()
            batch = self._batch
            if not self._queue:
                self._is_urgent = False
        error: Exception | None = None
        if batch:
            try:
                self._write(*_split(batch))
            except Exception as caught:
                error = caught
        with self._changed:
            self._note(batch, error)
            self._changed.notify_all()

    def _note(self, batch: Sequence[Item], error: Exception | None) -> None:
        if error is None:
            if self._error is not None and batch:
                self._say("what is logged is written again")
            if batch:
                self._error, self._failures_in_a_row = None, 0
            self._written += len(batch)
            self._chars -= sum(len(item[3]) for item in batch if _is_text(item))
            self._batch = []
            return
        if self._error is None:
            self._say(f"what is logged cannot be written now: {_reason(error)}")
        self._error, self._is_urgent = error, False
        self._failures += 1
        self._failures_in_a_row += 1


_writers: WeakSet[Writer] = WeakSet()


def _after_fork() -> None:
    for writer in list(_writers):
        writer._forked()


os.register_at_fork(after_in_child=_after_fork)


def _flush_at_end(writer: Writer) -> None:
    """Processes of multiprocessing end without atexit."""
    util = sys.modules.get("multiprocessing.util")
    if util is not None:
        util.Finalize(writer, writer.flush, args=(10.0,), exitpriority=10)


def _split(batch: Sequence[Item]) -> Batch:
    points: list[Point] = []
    values: list[Value] = []
    for item in batch:
        if _is_text(item):
            values.append(item)
        else:
            points.append(cast(Point, item))
    return points, values


def _is_text(item: Item) -> TypeGuard[Value]:
    return type(item[3]) is str


def _reason(error: Exception | None) -> str:
    if error is None:
        return "writing is too slow"
    if isinstance(error, OSError):
        return error.strerror or type(error).__name__
    return str(error) or type(error).__name__
