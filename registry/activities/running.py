"""An activity as the code that does its work sees it.

Progress costs next to nothing: it is written at most every WRITE_EVERY_S seconds, by a connection
that waits for nobody. Whoever works may hold the database itself, and losing an update at a crash
is fine.
"""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import replace
from pathlib import Path

from registry.activities.log import ActivityLog
from registry.activities.record import Activity, End, one_line
from registry.errors import CancelledError

OnChange = Callable[[Activity], None]
WRITE_EVERY_S = 0.3
SHOW_EVERY_S = 0.1
WAIT_S = 0.02
"""How long an update waits for a database that another holds, before it is left out."""


class RunningActivity:
    """What ``Activities.start`` gives. All methods may be called from any thread."""

    def __init__(
        self,
        activity: Activity,
        database: Path,
        log: ActivityLog,
        on_change: OnChange | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.id = activity.id
        self._now = activity
        self._database = database
        self._log = log
        self._on_change = on_change
        self._clock = clock
        self._done = 0
        self._next_write_s = self._next_show_s = clock()
        self._is_cancelled = False
        self._lock = threading.RLock()

    def __repr__(self) -> str:
        return f"RunningActivity({self._snapshot()!r})"

    def log(self, line: str) -> None:
        """Append to the log; it can be read at once."""
        self._log.add(line)

    def phase(self, name: str, total: int = 0) -> None:
        """The next phase begins; ``total`` is how many bytes it has, if that is known. Raises
        CancelledError."""
        with self._lock:
            self._done = 0
            self._now = replace(self._now, phase=one_line(name), done=0, total=total)
            self._next_write_s = self._next_show_s = self._clock()
            self.advance(0)

    def advance(self, count: int) -> None:
        """``count`` more bytes of the phase are done. Raises CancelledError."""
        with self._lock:
            self._done += count
            now_s = self._clock()
            if now_s >= self._next_show_s:
                self._next_show_s = now_s + SHOW_EVERY_S
                self._show()
            if now_s >= self._next_write_s:
                self._next_write_s = now_s + WRITE_EVERY_S
                self._exchange()
        self._raise_if_cancelled()

    def check(self) -> None:
        """Raises CancelledError when someone asked for the end."""
        self.advance(0)

    def say_end(self, end: End) -> None:
        """For ``Activities``: the last line of the log."""
        self._log.end(end.state if end.cause is None else f"{end.state}: {end.cause}")

    def show_end(self, end: End) -> None:
        """For ``Activities``: tells ``on_change`` how it ended."""
        with self._lock:
            self._now = replace(self._now, state=end.state, cause=end.cause, ended_at=end.ended_at)
            self._show()

    def progress(self) -> tuple[str, int, int]:
        """Phase, bytes done, and their total."""
        return self._now.phase, self._done, self._now.total

    def _snapshot(self) -> Activity:
        return replace(self._now, done=self._done)

    def _show(self) -> None:
        if self._on_change is not None:
            self._on_change(self._snapshot())

    def _raise_if_cancelled(self) -> None:
        if self._is_cancelled:
            raise CancelledError("cancelled on request")

    def _exchange(self) -> None:
        """Write how far it is, and read whether someone asked for its end. A database that is held
        or full is no reason to stop."""
        with suppress(sqlite3.Error), closing(self._connect()) as connection:
            row = connection.execute(
                "SELECT cancel_requested FROM activities WHERE id = ?", (self.id,)
            ).fetchone()
            self._is_cancelled = self._is_cancelled or (row is not None and bool(row[0]))
            connection.execute(
                "UPDATE activities SET phase = ?, done = ?, total = ?"
                " WHERE id = ? AND state = 'running'",
                (*self.progress(), self.id),
            )

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self._database, timeout=WAIT_S, isolation_level=None)
        connection.execute("PRAGMA synchronous = NORMAL")
        return connection
