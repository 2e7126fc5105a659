"""How long this thread may wait for a server, and whether it still should."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass


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
