"""How long this thread may wait for a server, and whether it still should."""

from __future__ import annotations

import concurrent.futures
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import TypeVar

T = TypeVar("T")
SLICE_S = 0.25
"""A cancelled operation ends within this time."""


@dataclass(frozen=True, slots=True)
class Timeouts:
    """``read_s`` between two pieces of a body; ``answer_s`` until all headers are there, and for
    all of a small body."""

    connect_s: float = 10.0
    read_s: float = 30.0
    answer_s: float = 60.0


USUAL_TIMEOUTS = Timeouts()


class Waits:
    """``check`` raises to stop."""

    def __init__(self, check: Callable[[], None]) -> None:
        self.check = check
        self._local = threading.local()

    def until(self, deadline: float | None) -> None:
        """No wait of this thread goes on after that, in the time of ``time.monotonic``."""
        self._local.deadline = deadline

    def end(self, timeout_s: float | None) -> float:
        """When a wait that begins now ends."""
        end = time.monotonic() + (USUAL_TIMEOUTS.read_s if timeout_s is None else timeout_s)
        deadline: float | None = getattr(self._local, "deadline", None)
        return end if deadline is None else min(end, deadline)

    def apart(self, work: Callable[[], T], discard: Callable[[T], object]) -> T:
        """What ``work`` returns, which nothing can interrupt: it has a thread of its own. When
        ``check`` raises, that is left to end by itself, and what it returns goes to ``discard``."""
        future: Future[T] = Future()

        def run() -> None:
            try:
                future.set_result(work())
            except BaseException as error:
                future.set_exception(error)

        def ended(late: Future[T]) -> None:
            if late.exception() is None:
                discard(late.result())

        threading.Thread(target=run, name="apart", daemon=True).start()
        try:
            while not future.done():
                self.check()
                concurrent.futures.wait([future], SLICE_S)
        except BaseException:
            future.add_done_callback(ended)
            raise
        return future.result()
