"""Why a script may have to end before it does by itself."""

from __future__ import annotations

import os
import signal
import threading
import time
from typing import Any

from runtime.submitted.layout import CANCEL, LEASE, RUN, Folder


class EndedError(Exception):
    """The run is over. ``facts``: why, as one word; the same in words; the exit code."""

    def __init__(self, why: str, message: str = "", code: int | None = None) -> None:
        super().__init__(message)
        self.facts: dict[str, Any] = {"why": why, "message": message, "code": code}


class Watch:
    """Of one run. ``patience_s``: how long it goes on while nobody follows. It looks at how the
    lease changes, so that a clock that is set ends nothing."""

    def __init__(self, folder: Folder, patience_s: float) -> None:
        self._folder = folder
        self._patience_s = patience_s
        self._seen: int | None = None
        self._since = time.monotonic()
        self._left = threading.Event()
        self._is_attached = False
        self._signal: int | None = None

    def begin(self, *, is_attached: bool) -> None:
        """``is_attached``: whoever started this process holds the other end of standard input, and
        the run ends with it; one who is just stopped may take as long as it likes."""
        self._is_attached = is_attached
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._note)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        if is_attached:
            threading.Thread(target=self._hear_end, daemon=True).start()

    def check(self) -> None:
        """Raises EndedError."""
        if self.is_lost():
            raise EndedError("lost", "nobody followed it any more")
        if self._signal is not None:
            raise EndedError("signal", f"the target ended it (signal {self._signal})")
        if os.path.exists(self._folder.at(RUN, CANCEL)):
            raise EndedError("cancelled")

    def is_left(self) -> bool:
        """Whether the process that started this one is gone."""
        return self._left.is_set()

    def is_lost(self) -> bool:
        """Whether nobody follows any more."""
        if self._is_attached:
            return self._left.is_set()
        try:
            now: int | None = os.stat(self._folder.at(LEASE)).st_mtime_ns
        except OSError:
            now = None
        if now != self._seen:
            self._seen, self._since = now, time.monotonic()
        return time.monotonic() - self._since > self._patience_s

    def _note(self, number: int, _frame: object) -> None:
        self._signal = number

    def _hear_end(self) -> None:
        try:
            while os.read(0, 1):
                pass
        except OSError:
            pass
        self._left.set()
