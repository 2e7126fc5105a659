"""What the hub is told of this device: at each change, each connection, and each ``every_s``.

reporter = Reporter(view, send, ...)
crew.add("reporter", reporter.work)
reporter.wake()                    # look now: it may have changed
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import msgspec

from edge.messages.reported import ModuleReport, Reported

PROGRESS_S = 10.0
"""How a pull goes on is news so often only."""


@dataclass(frozen=True, slots=True)
class Sent:
    """What was sent last, and when (monotonic)."""

    report: Reported
    at_s: float


def is_due(new: Reported, last: Sent | None, now_s: float, *, every_s: float) -> bool:
    """Whether ``new`` must be sent. Pure."""
    if last is None or now_s - last.at_s >= every_s:
        return True
    if news(new) != news(last.report):
        return True
    return new.modules != last.report.modules and now_s - last.at_s >= PROGRESS_S


def news(report: Reported) -> tuple[object, ...]:
    """What makes a report worth sending at once: not the load, nor how far a pull is."""
    modules = tuple(
        msgspec.structs.replace(module, done_bytes=None, total_bytes=None)
        for module in report.modules
    )
    return modules, report.desired_version, report.applied_version, report.error


def applied_version(modules: Sequence[ModuleReport], desired_version: int, before: int) -> int:
    """The newest version of which every module is idle or failed."""
    if all(module.phase in ("idle", "failed") for module in modules):
        return desired_version
    return before


class Reporter:
    """``view``: the report as it would be now, with this number. ``send``: whether the link took
    it. ``every_s``: asked at each look, as the hub may change it."""

    def __init__(
        self,
        view: Callable[[int], Reported],
        send: Callable[[Reported], bool],
        *,
        every_s: Callable[[], float],
        debounce_s: float = 1.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._view = view
        self._send = send
        self._every_s = every_s
        self._debounce_s = debounce_s
        self._clock = clock
        self._wake = threading.Event()
        self._is_asked = threading.Event()
        self._last: Sent | None = None
        self._number = 0

    def wake(self) -> None:
        """Something may have changed."""
        self._wake.set()

    def ask(self) -> None:
        """Send it, changed or not: the connection is new."""
        self._is_asked.set()
        self._wake.set()

    def work(self, stopping: threading.Event) -> None:
        """Until the end."""
        while not stopping.is_set():
            self._wake.wait(self._debounce_s)
            self._wake.clear()
            if stopping.is_set():
                return
            self.step()
            stopping.wait(self._debounce_s)

    def step(self) -> bool:
        """One look; whether a report was sent."""
        now = self._clock()
        report = self._view(self._number + 1)
        is_asked = self._is_asked.is_set()
        if not is_asked and not is_due(report, self._last, now, every_s=self._every_s()):
            return False
        self._is_asked.clear()
        if not self._send(report):
            if is_asked:
                self._is_asked.set()
            return False
        self._number += 1
        self._last = Sent(report, now)
        return True
