"""Keeps one process on the board alive: starts it, looks on, starts the next one.

    keeper = Keeper(lambda: Child.start(launch, artifact), start_s=60.0)
    keeper.begin()                       # raises FpgaError where the first one does not get ready
    child = keeper.child()               # the one that is up; waits for it, but not for ever
    keeper.lost(child, "no answer")      # or keeper.unsound(child, "a slave error"): it recovers
    keeper.close()

Its thread is the one that starts processes, as they die with the thread that started them.
"""

from __future__ import annotations

import contextlib
import logging
import os
import select
import threading
import time
from collections.abc import Callable, Sequence
from typing import Generic, Protocol, TypeVar

from fpga.errors import BoardError, FpgaError
from fpga.serving.child import Lost, Opened

logger = logging.getLogger("fpga")

BACKOFF_S = (0.0, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0)
"""Pause before the n-th start in a row; a process that was up for STEADY_S begins a new row."""
STEADY_S = 5.0
PATIENCE_S = 10.0
"""How long requests wait for a board to come back; then they are refused until it has."""
RECOVER_S = 30.0
"""A recovery may have to send the bitstream again."""


class Driver(Protocol):
    """A process on the board; `Child` is one."""

    opened: Opened

    @property
    def pid(self) -> int: ...

    def fileno(self) -> int: ...

    def await_ready(self, limit_s: float) -> None: ...

    def kill(self) -> None: ...

    def end(self, *, is_asked: bool) -> str: ...


D = TypeVar("D", bound=Driver)


class Keeper(Generic[D]):
    """See the module. ``broken``: why no run can be made now, None while one can;
    ``is_coming_back``: whether it is worth waiting; ``on_change`` is called, in any thread, when
    these may have changed."""

    def __init__(
        self,
        start: Callable[[], D],
        *,
        start_s: float,
        backoff_s: Sequence[float] = BACKOFF_S,
        patience_s: float = PATIENCE_S,
        recover_s: float = RECOVER_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._start, self._start_s = start, start_s
        self._backoff_s, self._patience_s, self._recover_s = backoff_s, patience_s, recover_s
        self._clock = clock
        self._changed = threading.Condition()
        self._current: D | None = None
        """The process there is, up or not."""
        self._is_up = False
        self._news: str | None = None
        """What a run found wrong with the current process: it is lost, or recovers."""
        self._is_lost = False
        self._has_begun = False
        self._is_closed = False
        self._first_error: FpgaError | None = None
        self._patience: threading.Timer | None = None
        self._wake_read, self._wake_write = os.pipe()
        os.set_blocking(self._wake_write, False)
        self._thread = threading.Thread(target=self._live, name="fpga-keeper", daemon=True)
        self.on_change: Callable[[], None] = _nothing
        self.broken: str | None = "the board is not open yet"
        self.is_coming_back = True
        self.restarts = 0

    def __repr__(self) -> str:
        return f"<Keeper {self._current!r} {self.broken or 'up'}>"

    @property
    def current(self) -> D | None:
        """The process there is, up or not."""
        return self._current

    def begin(self) -> D:
        """Start the first process; it is returned when it is up. Raises FpgaError."""
        self._thread.start()
        with self._changed:
            self._changed.wait_for(
                lambda: self._is_up or self._is_closed or self._first_error is not None
            )
            if self._is_up and self._current is not None:
                return self._current
        self.close()
        raise self._first_error or BoardError("the board was closed")

    def child(self) -> D | None:
        """The process that is up, or None where there is none, and waiting for it is over."""
        current = self._current
        if self._is_up and current is not None:
            return current
        with self._changed:
            self._changed.wait_for(
                lambda: self._is_up or self._is_closed or not self.is_coming_back
            )
            return self._current if self._is_up else None

    def lost(self, child: D, why: str) -> None:
        """It is of no use any more: it is killed, and another one started."""
        self._tell(child, why, is_lost=True)  # first: its end would be news of its own
        child.kill()

    def unsound(self, child: D, why: str) -> None:
        """Its board recovers now."""
        self._tell(child, why, is_lost=False)

    def close(self) -> None:
        """End the process, and wait for that. Idempotent; in any thread."""
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()
            starting = None if self._is_up else self._current
        if starting is not None:  # nobody waits for it any more
            starting.kill()
        self._wake()
        if self._thread.is_alive() and self._thread is not threading.current_thread():
            self._thread.join()

    # What is said of the current process, in any thread

    def _tell(self, child: D, why: str, *, is_lost: bool) -> None:
        with self._changed:
            if child is not self._current or self._is_lost:
                return
            self._news, self._is_lost = why, is_lost
            self._down(why)
        self.on_change()
        self._wake()

    def _down(self, why: str) -> None:
        """Requests wait, for a while. Call with the condition."""
        self._is_up = False
        self.broken, self.is_coming_back = f"the board is not there now: {why}", True
        if self._patience is None:
            self._patience = threading.Timer(self._patience_s, self._lose_patience)
            self._patience.daemon = True
            self._patience.start()

    def _lose_patience(self) -> None:
        with self._changed:
            self._patience = None
            if self._is_up:
                return
            self.is_coming_back = False
            self._changed.notify_all()
        self.on_change()

    def _give_up_hope(self, why: str) -> None:
        with self._changed:
            self._is_up = False
            self.broken, self.is_coming_back = f"the board is not there now: {why}", False
            self._changed.notify_all()
        self.on_change()

    def _up(self, child: D) -> None:
        with self._changed:
            if self._is_closed:
                return
            self._is_up, self.broken, self.is_coming_back = True, None, True
            self._news, self._is_lost = None, False
            if self._patience is not None:
                self._patience.cancel()
                self._patience = None
            self._changed.notify_all()
        self.on_change()

    def _wake(self) -> None:
        with self._changed, contextlib.suppress(BlockingIOError):  # it is awake
            if self._wake_write >= 0:
                os.write(self._wake_write, b"x")

    # The keeper's thread

    def _live(self) -> None:
        try:
            self._keep()
        except Exception as error:  # a bug of ours: nobody shall wait for ever
            logger.exception("the board's process is not kept any more")
            self._fail_first(BoardError(f"internal error: {type(error).__name__}"))
            self._give_up_hope("internal error; restart the server")
        finally:
            with self._changed:
                if self._patience is not None:
                    self._patience.cancel()
                os.close(self._wake_read)
                os.close(self._wake_write)
                self._wake_write = -1

    def _keep(self) -> None:
        in_row = 0
        while self._paused(self._backoff_s[min(in_row, len(self._backoff_s) - 1)]):
            in_row = 0 if self._one_life() else in_row + 1
            if not self._has_begun:
                return
            self.restarts += not self._is_closed

    def _one_life(self) -> bool:
        """From the start of a process to its end; whether it was up for STEADY_S."""
        try:
            child = self._start()
        except FpgaError as error:
            self._not_ready(error)
            return False
        with self._changed:
            self._current, self._news, self._is_lost = child, None, False
        try:
            self._open(child, self._start_s)
        except FpgaError as error:
            self._end(child)
            self._not_ready(error)
            return False
        except Lost as error:
            said = f"{error}; it {self._end(child)}"
            self._not_ready(BoardError(f"the process for the board did not start: {said}"))
            return False
        up_at = self._clock()
        logger.info(
            "process %d drives the board %s%s", child.pid, child.opened.name,
            ", which is simulated" if child.opened.is_simulated else "",
        )  # fmt: skip
        self._has_begun = True
        self._up(child)
        why = self._look_on(child)
        said = self._end(child)
        if not self._is_closed:
            logger.warning("process %d, which drove the board, %s (%s); starting another",
                           child.pid, said, why)  # fmt: skip
        return self._clock() - up_at >= STEADY_S

    def _open(self, child: D, limit_s: float) -> None:
        """Raises FpgaError or Lost; at once when it is closed."""
        if self._is_closed:
            raise Lost("the server stops")
        child.await_ready(limit_s)

    def _look_on(self, child: D) -> str:
        """Until it is of no use; why."""
        poller = select.poll()
        poller.register(child.fileno(), 0)  # hanging up is always told
        poller.register(self._wake_read, select.POLLIN)
        while True:
            events = dict(poller.poll())
            if self._wake_read in events:
                os.read(self._wake_read, 4096)
            with self._changed:
                news, is_lost = self._news, self._is_lost
                if self._is_closed:
                    return "the server stops"
            if is_lost:
                return news or "lost"
            if child.fileno() in events:
                self._tell(child, "its process ended", is_lost=True)
                return "it ended"
            if news is not None:
                try:
                    self._recovered(child, news)
                except (FpgaError, Lost) as error:
                    self._tell_more(f"{news}; and it does not recover: {error}")
                    return str(error)

    def _recovered(self, child: D, news: str) -> None:
        """Raises FpgaError or Lost."""
        logger.warning("the board recovers: %s", news)
        self._open(child, self._recover_s)
        logger.info("the board has recovered")
        self._up(child)

    def _tell_more(self, why: str) -> None:
        with self._changed:
            self._is_lost = True
            self._down(why)
        self.on_change()

    def _not_ready(self, error: FpgaError) -> None:
        if self._fail_first(error) or self._is_closed:
            return
        logger.error("the board does not come back: %s", error)
        self._give_up_hope(str(error))

    def _fail_first(self, error: FpgaError) -> bool:
        with self._changed:
            if self._has_begun:
                return False
            self._first_error = error
            self._changed.notify_all()
            return True

    def _end(self, child: D) -> str:
        """Ended and reaped, however long that takes; how."""
        while True:
            try:
                said = child.end(is_asked=not self._is_lost)
                break
            except BoardError as error:
                logger.error("%s", error)
                self._give_up_hope(str(error))
                if self._is_closed:
                    return "could not be ended"
        with self._changed:
            self._current = None
        return said

    def _paused(self, seconds: float) -> bool:
        """False where there is nothing to come back for."""
        with self._changed:
            return not self._changed.wait_for(lambda: self._is_closed, seconds)


def _nothing() -> None:
    """Nobody wants to know."""
