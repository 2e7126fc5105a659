"""One blob over a bad link: from where it was cut, no faster than allowed, never for ever."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from edge.errors import PullError
from edge.pull.parts import Part
from edge.pull.rate import RateCap
from registry.remote.failures import CutError
from registry.remote.http import Answer
from registry.remote.repository import Repository
from registry.remote.retrying import TransientError

ATTEMPTS = 4
"""In a row without a byte, before the caller hears of it: who retries for ever."""
FIRST_WAIT_S = 0.25
MAX_WAIT_S = 30.0
WINDOW_S = 60.0
MIN_WINDOW_BYTES = 16 * 1024
"""A registry that sends less within a window is left for now: a drip would hold us for ever."""
GUARDED_BYTES = 4 * 1024 * 1024


class Pace:
    """Notices a drip."""

    def __init__(self) -> None:
        self._took_s = 0.0
        self._size_bytes = 0

    def count(self, size_bytes: int, took_s: float) -> None:
        """So many bytes were waited for so long. Raises PullError."""
        self._took_s += took_s
        self._size_bytes += size_bytes
        if self._took_s < WINDOW_S:
            return
        if self._size_bytes < MIN_WINDOW_BYTES:
            raise PullError("the registry sends almost nothing; trying later", is_temporary=True)
        self._took_s, self._size_bytes = 0.0, 0


@dataclass(frozen=True, slots=True)
class Download:
    """What fills parts. ``check`` raises to stop. ``guard`` is called every few megabytes, and may
    raise too. ``draw``: 0 to 1, for the jitter of waits."""

    repository: Repository
    rate: RateCap
    check: Callable[[], None]
    guard: Callable[[], None]
    draw: Callable[[], float]
    clock: Callable[[], float] = time.monotonic

    def fill(self, part: Part, on_size: Callable[[int], None]) -> None:
        """Until the part is complete. ``on_size``: its bytes. Raises TransientError when nothing
        came for a while, PullError, RemoteError."""
        failures = 0
        while not part.is_complete:
            before = part.size_bytes
            try:
                self._take(part, on_size)
            except TransientError as error:
                part.sync()
                failures = 1 if part.size_bytes > before else failures + 1
                if failures >= ATTEMPTS:
                    raise
                wait_s = self.draw() * 2.0**failures * FIRST_WAIT_S
                self.repository.client.pause(min(MAX_WAIT_S, max(wait_s, error.asked_s or 0.0)))

    def _take(self, part: Part, on_size: Callable[[int], None]) -> None:
        pace, unguarded = Pace(), GUARDED_BYTES
        with self.repository.blob(part.descriptor.digest, part.size_bytes) as answer:
            skip = _skipped(answer, part)
            asked_at = self.clock()
            for chunk in answer.chunks():
                pace.count(len(chunk), self.clock() - asked_at)
                self.check()
                self.rate.take(len(chunk), self.check)
                skipped, chunk = min(skip, len(chunk)), chunk[skip:]
                skip -= skipped
                if chunk:
                    unguarded += len(chunk)
                    if unguarded >= GUARDED_BYTES:
                        unguarded = 0
                        self.guard()
                    part.add(chunk)
                    on_size(part.size_bytes)
                asked_at = self.clock()
        if not part.is_complete:
            raise CutError("the registry's answer ended early")


def _skipped(answer: Answer, part: Part) -> int:
    """How many bytes of the answer are here already. Raises PullError for another range, or another
    length than is due."""
    blob, start = part.descriptor, part.size_bytes
    due = blob.size
    if answer.status == 206:
        due -= start
        said = (answer.header("content-range") or "").strip().lower()
        if not said.startswith(f"bytes {start}-"):
            raise PullError(f"the registry sends another part of {blob.digest} than was asked for")
    if answer.size_bytes not in (None, due):
        raise PullError(
            f"the registry says that {blob.digest} has {answer.size_bytes} bytes where {due} are"
            " due",
            is_temporary=True,  # it may be the page of a network that wants a login
        )
    return start if answer.status != 206 else 0
