"""Changes of activities, for streams that follow them: one thread looks, for all of them.

    with events.following("default", last_id, loop) as (stream, before):
        for event in before: ...                 # what it has missed
        event = await stream.get()

An event's id is good for this run of the service and the last KEPT changes; a client that comes
back with another one gets how all activities are now.
"""

from __future__ import annotations

import asyncio
import secrets
import threading
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from registry.activities import Activity
from registry.errors import RegistryError
from runtime.workspace_service.faults import Fault

if TYPE_CHECKING:
    from registry import Workspace

LOOK_EVERY_S = 0.5
KEPT = 1000
LOOKED_AT = 200
"""The newest activities of a workspace."""
MOST_STREAMS = 200
MOST_WAITING = 500
"""Of one stream; a client that reads no more is cut."""


@dataclass(frozen=True, slots=True)
class Event:
    """How an activity is, from now on."""

    id: str
    activity: Activity


class Stream:
    """One client's. Events come from another thread."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._queue: asyncio.Queue[Event | None] = asyncio.Queue(MOST_WAITING)
        self.is_cut = False

    async def get(self) -> Event | None:
        """The next one; None is the end."""
        return await self._queue.get()

    def put(self, event: Event | None) -> None:
        """From any thread. An event loop that has ended needs none."""
        try:
            self._loop.call_soon_threadsafe(self._put, event)
        except RuntimeError:
            self.is_cut = True

    def _put(self, event: Event | None) -> None:
        try:
            self._queue.put_nowait(event)
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
        self._closing = closing
        self._every_s = every_s
        self._most = most
        self._run = secrets.token_hex(4)
        self._number = 0
        self._lock = threading.Lock()
        self._streams: dict[str, set[Stream]] = {}
        self._seen: dict[str, dict[str, Activity]] = {}
        self._kept: dict[str, deque[tuple[int, Event]]] = {}
        self._looker: threading.Thread | None = None

    @contextmanager
    def following(
        self, workspace: str, last_id: str, loop: asyncio.AbstractEventLoop
    ) -> Iterator[tuple[Stream, list[Event]]]:
        """A stream for a reader in ``loop``, and what comes before it: the changes after
        ``last_id``, or all as it is. Raises Fault 503 when there are too many."""
        with self._lock:
            if sum(map(len, self._streams.values())) >= self._most:
                raise Fault(
                    503, "too_many_streams", "too many clients follow", {"Retry-After": "30"}
                )
            stream = Stream(loop)
            self._look_at(workspace)
            before = self._after(workspace, last_id)
            self._streams.setdefault(workspace, set()).add(stream)
            if self._looker is None:
                self._looker = threading.Thread(target=self._look, name="events", daemon=True)
                self._looker.start()
        try:
            yield stream, before
        finally:
            with self._lock:
                self._streams[workspace].discard(stream)

    def _after(self, workspace: str, last_id: str) -> list[Event]:
        kept = self._kept.get(workspace, deque())
        run, _, text = last_id.partition("-")
        number = int(text) if text.isascii() and text.isdigit() and len(text) < 18 else -1
        if run == self._run and kept and kept[0][0] <= number + 1 and number <= self._number:
            return [event for at, event in kept if at > number]
        if run == self._run and number == self._number:
            return []
        now = sorted(self._seen.get(workspace, {}).values(), key=lambda each: each.started_at)
        return [Event(f"{self._run}-{self._number}", activity) for activity in now]

    def _look(self) -> None:
        """While somebody follows."""
        while not self._closing.wait(self._every_s):
            with self._lock:
                names = [name for name, streams in self._streams.items() if streams]
                if not names:
                    self._looker = None
                    return
                for name in names:
                    self._look_at(name)
        with self._lock:
            self._looker = None
            for streams in self._streams.values():
                for stream in streams:
                    stream.put(None)

    def _look_at(self, name: str) -> None:
        """One workspace; under the lock. One that cannot be read now is looked at again."""
        try:
            found = self._workspaces[name].activities.list(limit=LOOKED_AT)
        except RegistryError:
            return
        seen = self._seen.get(name)
        self._seen[name] = {each.id: each for each in found}
        kept = self._kept.setdefault(name, deque(maxlen=KEPT))
        if seen is None:
            return
        for activity in reversed(found):
            if seen.get(activity.id) != activity:
                self._number += 1
                event = Event(f"{self._run}-{self._number}", activity)
                kept.append((self._number, event))
                for stream in self._streams.get(name, ()):
                    stream.put(event)
