"""Changes of activities, for streams that follow them: one thread looks, for all of them.

    with events.following("default", last_id, loop) as (stream, before):
        for change in before: ...                # what it has missed
        change = await stream.get()

The id of an event is the cursor of registry/activities/events.py, so that a client goes on where it
was also after the service was started again.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from registry.activities.events import Change, changes_since
from registry.database import Database
from registry.errors import RegistryError
from registry.paths import WorkspacePaths
from runtime.workspace_service.faults import Fault

if TYPE_CHECKING:
    from registry import Workspace

LOOK_EVERY_S = 0.5
SETTLE_EVERY_S = 10.0
"""A process that died says nothing itself."""
MOST_STREAMS = 200
MOST_WAITING = 500
"""Of one stream; a client that reads no more is cut."""


class Stream:
    """One client's. Changes come from another thread."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._queue: asyncio.Queue[Change | None] = asyncio.Queue(MOST_WAITING)
        self.is_cut = False

    async def get(self) -> Change | None:
        """The next one; None is the end."""
        return await self._queue.get()

    def put(self, change: Change | None) -> None:
        """From any thread. An event loop that has ended needs none."""
        try:
            self._loop.call_soon_threadsafe(self._put, change)
        except RuntimeError:
            self.is_cut = True

    def _put(self, change: Change | None) -> None:
        try:
            self._queue.put_nowait(change)
        except asyncio.QueueFull:
            self.is_cut = True


class Events:
    """Those of the workspaces of one service; ``closing`` ends it."""

    def __init__(
        self,
        workspaces: Mapping[str, Workspace],
        closing: threading.Event,
        *,
        every_s: float = LOOK_EVERY_S,
        most: int = MOST_STREAMS,
    ) -> None:
        self._workspaces = workspaces
        self._databases = {
            name: Database(WorkspacePaths(each.root).database) for name, each in workspaces.items()
        }
        self._closing = closing
        self._every_s = every_s
        self._most = most
        self._lock = threading.Lock()
        self._streams: dict[str, set[Stream]] = {}
        self._cursors: dict[str, int] = {}
        self._settle_s = 0.0
        self._looker: threading.Thread | None = None

    @contextmanager
    def following(
        self, workspace: str, last_id: str, loop: asyncio.AbstractEventLoop
    ) -> Iterator[tuple[Stream, list[Change]]]:
        """A stream for a reader in ``loop``, and what comes before it: the changes after
        ``last_id``, or all activities as they are. Raises Fault 503 when there are too many, and
        RegistryError."""
        stream = Stream(loop)
        with self._lock:
            if sum(map(len, self._streams.values())) >= self._most:
                raise Fault(
                    503, "too_many_streams", "too many clients follow", {"Retry-After": "30"}
                )
            before, cursor = self._all_since(workspace, _cursor(last_id))
            for other in self._streams.setdefault(workspace, set()):
                for change in before:
                    if change.cursor > self._cursors[workspace]:
                        other.put(change)
            self._cursors[workspace] = cursor
            self._streams[workspace].add(stream)
            if self._looker is None:
                self._looker = threading.Thread(target=self._look, name="events", daemon=True)
                self._looker.start()
        try:
            yield stream, before
        finally:
            with self._lock:
                self._streams[workspace].discard(stream)

    def _all_since(self, workspace: str, cursor: int) -> tuple[list[Change], int]:
        found: list[Change] = []
        while True:
            some, after = changes_since(self._databases[workspace], cursor)
            found += some
            if not some:
                return found, after
            cursor = after

    def _look(self) -> None:
        """While somebody follows."""
        while not self._closing.wait(self._every_s):
            with self._lock:
                names = [name for name, streams in self._streams.items() if streams]
                if not names:
                    self._looker = None
                    return
                for name in names:
                    with suppress(RegistryError):  # it is looked at again
                        self._look_at(name)
            self._settle(names)
        with self._lock:
            self._looker = None
            for streams in self._streams.values():
                for stream in streams:
                    stream.put(None)

    def _look_at(self, name: str) -> None:
        changes, self._cursors[name] = self._all_since(name, self._cursors[name])
        for change in changes:
            for stream in self._streams[name]:
                stream.put(change)

    def _settle(self, names: list[str]) -> None:
        if time.monotonic() < self._settle_s:
            return
        self._settle_s = time.monotonic() + SETTLE_EVERY_S
        for name in names:
            with suppress(RegistryError):
                self._workspaces[name].activities.settle()


def _cursor(last_id: str) -> int:
    """0 of what is no id that this service gave."""
    is_number = last_id.isascii() and last_id.isdigit() and len(last_id) < 18
    return int(last_id) if is_number else 0
