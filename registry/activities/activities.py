"""All activities of a workspace: start one, look at them, ask for the end of one.

What is decided here: a row that says "running" is believed only while the lifeline of its process
is held. Readers show it as failed at once; the next writer makes that a fact.
"""

from __future__ import annotations

import secrets
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from typing import Literal

from registry import names
from registry.activities import rows
from registry.activities.files import ActivityFiles
from registry.activities.lifeline import Lifeline, is_held, last_words
from registry.activities.log import ActivityLog, read_log
from registry.activities.origin import Begun, CommandOrigin, Origin, begun, decoded, encoded
from registry.activities.record import MAX_SUBJECT_CHARS, Activity, End, State, new_id, one_line
from registry.activities.running import OnChange, RunningActivity
from registry.blobs import disk_errors_said
from registry.clock import Clock, utc_now
from registry.database import Database
from registry.errors import CancelledError, ImmutableError, RegistryError
from registry.paths import WorkspacePaths

Found = list[Activity]
_WORDS = {
    "running": "runs",
    "succeeded": "has succeeded",
    "failed": "has failed",
    "cancelled": "was cancelled",
}


class Activities:
    """The activities of one workspace; any number of processes have one each."""

    def __init__(
        self,
        paths: WorkspacePaths,
        database: Database,
        clock: Clock = utc_now,
        random_hex: Callable[[int], str] = secrets.token_hex,
    ) -> None:
        self._paths = paths
        self._database = database
        self._clock = clock
        self._random_hex = random_hex
        self._files = ActivityFiles(paths.activities)

    @contextmanager
    def start(
        self,
        kind: str,
        subject: str,
        on_change: OnChange | None = None,
        *,
        stays: bool = True,
    ) -> Iterator[RunningActivity]:
        """An activity for the block, whose end is its end: succeeded, cancelled by CancelledError
        or Ctrl-C, failed by any other exception. ``on_change`` is told of phases, progress and the
        end, from the thread that works. ``stays``: the block ends in the thread that it began in.

        Raises StoreFullError when there is not even room to say that it runs."""
        with self._database.held() if stays else nullcontext():
            yield from self._run(kind, subject, on_change)

    def _run(
        self, kind: str, subject: str, on_change: OnChange | None
    ) -> Iterator[RunningActivity]:
        activity, lifeline = self._begin(kind, subject)
        log = ActivityLog(self._files.log(activity.id), self._clock)
        running = RunningActivity(activity, self._paths.database, log, on_change)
        try:
            yield running
        except BaseException as error:
            self._finish(running, lifeline, *_how_it_ended(error))
            raise
        self._finish(running, lifeline, "succeeded", None)

    def list(
        self, *, kind: str | None = None, running_only: bool = False, limit: int = rows.KEPT
    ) -> Found:
        """The newest first."""
        with self._database.read() as connection:
            found = rows.select(connection, kind=kind, running_only=running_only, limit=limit)
        seen = [self._as_it_is(activity) for activity in found]
        return [activity for activity in seen if activity.is_running or not running_only]

    def get(self, ref: str) -> Activity:
        """The activity with this id, or the only one whose id begins so. Raises NotFoundError."""
        with self._database.read() as connection:
            found = rows.find(connection, ref)
        return self._as_it_is(found)

    def log(self, ref: str, offset: int = 0) -> bytes:
        """What its log has from byte ``offset`` on: ask again with the next offset to follow it.
        Raises NotFoundError."""
        with self._database.read() as connection:
            found = rows.find(connection, ref)
        return read_log(self._files.log(found.id), max(0, offset))

    def origin(self, ref: str) -> Origin:
        """What an activity was begun with, for who begins it again. Raises NotFoundError, and
        ImmutableError for one that cannot be: it did not fail, nobody knows how it was begun, or it
        is begun again already."""
        with self._database.read() as connection:
            found = rows.find(connection, ref)
            again = self._as_it_is(found)
            by = None if again.resumed_by is None else rows.find(connection, again.resumed_by)
            text = rows.origin(connection, found.id)
        check_resumable(again, None if by is None else self._as_it_is(by))
        assert text is not None, "who began it is known, and not how"
        return decoded(text)

    def cancel(self, ref: str) -> Activity:
        """Ask for the end of one; it ends at its next point of cancel, or succeeds if there is none
        left. Raises NotFoundError, and ImmutableError when it has ended."""
        with self._database.write() as connection:
            settled = self._settle(connection)
            found = rows.find(connection, ref)
            if found.is_running:
                rows.ask_to_cancel(connection, found.id)
        self._files.remove_lifelines(settled)
        if not found.is_running:
            raise ImmutableError(f"activity {found.id} has ended already: {found.state}")
        return found

    def settle(self) -> None:
        """Make it a fact that activities of dead processes have failed, which readers see anyway:
        for whoever is told of changes."""
        with self._database.write() as connection:
            settled = self._settle(connection)
        self._files.remove_lifelines(settled)

    def _begin(self, kind: str, subject: str) -> tuple[Activity, Lifeline]:
        """Within one write transaction, so that nobody sees a row before its lifeline is held, or
        takes a lifeline without a row for one that was left behind."""
        names.check_name(kind, "kind of activity")
        said = one_line(subject, MAX_SUBJECT_CHARS)
        order = begun()
        lifeline: Lifeline | None = None
        try:
            with disk_errors_said():
                self._files.make()
                with self._database.write() as connection:
                    settled = self._settle(connection)
                    gone = {*rows.trim(connection, rows.KEPT - 1)}
                    gone |= self._files.strays(rows.ids(connection))
                    now = self._clock()
                    id = self._unused_id(connection, now)
                    origin = None if order.origin is None else encoded(order.origin)
                    if order.resumes is not None:
                        self._check_again(connection, order.resumes)
                    activity = Activity(
                        id,
                        kind,
                        said,
                        "running",
                        "",
                        0,
                        0,
                        None,
                        now,
                        None,
                        begun_by=None if origin is None else _by(order),
                        resumes=order.resumes,
                    )
                    lifeline = Lifeline(self._files.lifeline(id))
                    rows.insert(connection, activity, origin)
        except BaseException:
            if lifeline is not None:
                lifeline.cut()
            raise
        self._files.remove(gone)
        self._files.remove_lifelines(settled)
        return activity, lifeline

    def _check_again(self, connection: sqlite3.Connection, id: str) -> None:
        """Within a write transaction, after settling: two that resume the same do not both."""
        found = rows.find(connection, id)
        by = None if found.resumed_by is None else rows.find(connection, found.resumed_by)
        check_resumable(found, by)

    def _unused_id(self, connection: sqlite3.Connection, now: str) -> str:
        known = rows.ids(connection)
        while (id := new_id(now, self._random_hex)) in known:
            pass
        return id

    def _finish(
        self, running: RunningActivity, lifeline: Lifeline, state: State, cause: str | None
    ) -> None:
        """Never raises: an operation that succeeded has, whether that can be written or not."""
        end = End(state, cause, self._clock())
        running.say_end(end)  # before the row: who sees that it ended finds the whole log
        try:
            with self._database.write() as connection:
                rows.write_end(connection, running.id, end, running.progress())
        except RegistryError:
            lifeline.leave(end)
        else:
            lifeline.cut()
        running.show_end(end)

    def _as_it_is(self, activity: Activity) -> Activity:
        """The row that was read, or what became of it: a process writes its end before it lets go
        of its lifeline, so that a row that still says "running" after that is of a dead one."""
        if not activity.is_running or is_held(self._files.lifeline(activity.id)):
            return activity
        with self._database.read() as connection:
            again = rows.find(connection, activity.id)
        if not again.is_running:
            return again
        end = last_words(self._files.lifeline(activity.id), self._clock())
        return replace(again, state=end.state, cause=end.cause, ended_at=end.ended_at)

    def _settle(self, connection: sqlite3.Connection) -> Sequence[str]:
        """Within a write transaction: how the activities of dead processes ended. Nobody can end
        one meanwhile, so that a free lifeline is of a dead process. Returns the ids, whose
        lifelines are to be removed once that is committed."""
        settled = []
        for activity in rows.select(connection, running_only=True):
            lifeline = self._files.lifeline(activity.id)
            if not is_held(lifeline):
                rows.write_end(connection, activity.id, last_words(lifeline, self._clock()))
                settled.append(activity.id)
        return settled


def check_resumable(activity: Activity, last: Activity | None) -> None:
    """``last``: the activity that began it again most recently, if one did. Raises ImmutableError.
    Pure."""
    if activity.is_running:
        raise ImmutableError(
            f"activity {activity.id} runs; see inferry activity watch {activity.id}"
        )
    if activity.state == "succeeded":
        raise ImmutableError(f"activity {activity.id} has succeeded; there is nothing to resume")
    if last is not None:
        advice = "; resume that one" if last.state in ("failed", "cancelled") else ""
        raise ImmutableError(
            f"activity {activity.id} was resumed by {last.id}, which {_WORDS[last.state]}{advice}"
        )
    if activity.begun_by is None:
        raise ImmutableError(
            f"nobody knows how activity {activity.id} was begun (from Python, or by an earlier"
            " Inferry); begin it again as it was begun"
        )


def _by(order: Begun) -> Literal["command", "service"]:
    return "command" if isinstance(order.origin, CommandOrigin) else "service"


def _how_it_ended(error: BaseException) -> tuple[State, str | None]:
    """State and cause. What is no RegistryError may say what is not for all eyes, such as a path
    of this machine: of that only the kind is told."""
    if isinstance(error, CancelledError):
        return "cancelled", one_line(str(error))
    if isinstance(error, KeyboardInterrupt):
        return "cancelled", "interrupted"
    if isinstance(error, RegistryError):
        return "failed", one_line(str(error))
    if isinstance(error, OSError):
        return "failed", one_line(error.strerror or type(error).__name__)
    return "failed", f"stopped by {type(error).__name__}"
