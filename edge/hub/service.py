"""The running hub: a link to the broker, and the threads that hear, store, answer and tell.

inbox <- link                   what devices say, bounded
receiving: inbox -> database    group commit, then acknowledgements
outbound -> link                acknowledgements, commands, desired states
watching: database -> outbound  what the command line or a rollout has changed
chores                          rollouts, retention; each with a thread of its own

service = HubService(database, link, desired_for, chores=[...])
service.start()
...
service.stop()
"""

from __future__ import annotations

import logging
import sqlite3
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass

from edge import topics
from edge.errors import EdgeError, InvalidMessageError
from edge.hub import command_queue, devices
from edge.hub.counters import Counters
from edge.hub.database import Database, changes
from edge.hub.inbox import Bounds, Inbox, Parcel
from edge.hub.outbound import Outbound
from edge.hub.port import Chore, DesiredFor
from edge.hub.receiving import Receiving
from edge.link.port import Link, Message

log = logging.getLogger(__name__)
WATCH_S = 0.25
PAUSE_S = 1.0
STOP_S = 10.0
MAX_ECHO_LENGTH = 19


def now_ms() -> int:
    """Since 1970; what devices take as the time."""
    return time.time_ns() // 1_000_000


@dataclass(frozen=True, slots=True)
class _Seen:
    """Of the database: who is enrolled, and the counters of ``changed``."""

    known: frozenset[str] = frozenset()
    devices: int = -1
    desired: int = -1
    commands: int = -1


class HubService:
    """``now_ms`` and ``watch_s`` are for tests."""

    def __init__(
        self,
        database: Database,
        link: Link,
        desired_for: DesiredFor,
        *,
        chores: Sequence[Chore] = (),
        bounds: Bounds | None = None,
        now_ms: Callable[[], int] = now_ms,
        watch_s: float = WATCH_S,
    ) -> None:
        self.database = database
        self.counters = Counters()
        self.inbox = Inbox(bounds)
        self._link = link
        self._chores = chores
        self._now_ms = now_ms
        self._watch_s = watch_s
        self._outbound = Outbound(database, link, desired_for, self.counters, now_ms)
        self._receiving = Receiving(database, self.inbox, self._outbound, self.counters, now_ms)
        self._stopped = threading.Event()
        self._reconnected = threading.Event()
        self._wake = threading.Event()
        self._threads: list[threading.Thread] = []

    @property
    def is_connected(self) -> bool:
        """Whether the broker is reached."""
        return self._link.is_connected

    @property
    def is_healthy(self) -> bool:
        """Whether what devices send is stored: every thread lives, and the last write succeeded."""
        return not self._receiving.is_failing and all(t.is_alive() for t in self._threads)

    def start(self) -> None:
        """Begin. Raises HubError when the database cannot be used."""
        self.database.migrate()
        self._run("hub receiving", lambda: self._receiving.run(self._stopped.is_set))
        self._run("hub outbound", self._outbound.run)
        self._run("hub watching", self._watch)
        for chore in self._chores:
            self._run(f"hub {chore.name}", lambda chore=chore: self._do(chore))  # type: ignore[misc]
        self._link.start(
            subscriptions=topics.upward_filters(),
            on_message=self._on_message,
            on_connected=self._on_connected,
        )

    def stop(self) -> None:
        """Store what was heard, and end. Idempotent."""
        self.inbox.close()
        self._stopped.set()
        self._wake.set()
        if self._threads:
            self._threads[0].join(STOP_S)
            with suppress(EdgeError):
                self._outbound.send()  # the last acknowledgements, if the link takes them now
        self._outbound.stop()
        self._link.stop()
        for thread in self._threads:
            thread.join(STOP_S)

    def _on_message(self, message: Message) -> None:
        try:
            device, kind = topics.parse(message.topic)
        except InvalidMessageError:
            self.counters.add("refused_total", "topic")
            return
        if kind not in topics.UPWARD:
            self.counters.add("refused_total", "topic")
            return
        echo_ms = _echo(message.properties.get("mono"))
        parcel = Parcel(device, kind, message.payload, echo_ms, message.is_retained)
        if not self.inbox.offer(parcel):
            self.counters.add("dropped_total", "too slow")

    def _on_connected(self) -> None:
        self.counters.add("connections_total")
        self._outbound.forget()
        self._reconnected.set()
        self._wake.set()

    def _watch(self) -> None:
        seen = _Seen()
        while not self._stopped.is_set():
            is_again = self._reconnected.is_set()
            self._reconnected.clear()
            try:
                with self.database.reader() as connection:
                    seen = self._look(connection, seen, is_again)
            except Exception:
                if is_again:
                    self._reconnected.set()
                raise
            self._wake.wait(self._watch_s)
            self._wake.clear()

    def _look(self, connection: sqlite3.Connection, seen: _Seen, is_again: bool) -> _Seen:
        """Hand on what has changed since ``seen``; all of it (``is_again``) to a new connection."""
        now = changes(connection)
        known = seen.known
        if is_again or now["devices"] != seen.devices:
            known = frozenset(devices.names(connection))
            self._outbound.clear(sorted(seen.known - known))
        if is_again:
            self._outbound.publish_desired(sorted(known))
        elif now["desired"] != seen.desired:
            rows = connection.execute(
                "SELECT name FROM devices WHERE desired_mark > ?", (seen.desired,)
            )
            self._outbound.publish_desired([row[0] for row in rows])
        if is_again or now["commands"] != seen.commands:
            ids = command_queue.open_commands(connection, self._now_ms())
            self._outbound.publish_commands(ids)
        return _Seen(known, now["devices"], now["desired"], now["commands"])

    def _do(self, chore: Chore) -> None:
        while not self._stopped.is_set():
            try:
                chore.run(self._now_ms())
            except EdgeError as error:
                self.counters.add("failed_total", chore.name)
                log.error("%s: %s", chore.name, error)
            self._stopped.wait(chore.interval_s)

    def _run(self, name: str, work: Callable[[], None]) -> None:
        """A thread that begins its work again whatever happened: no fault of one part, and no
        message, ends the hub."""

        def guarded() -> None:
            while True:
                try:
                    work()
                    return
                except EdgeError as error:
                    log.error("%s: %s", name, error)
                except Exception:
                    log.exception("%s failed, and begins again", name)
                self.counters.add("failed_total", name.removeprefix("hub "))
                if self._stopped.wait(PAUSE_S):
                    return

        thread = threading.Thread(target=guarded, name=name, daemon=True)
        self._threads.append(thread)
        thread.start()


def _echo(text: str | None) -> int | None:
    if text is None or len(text) > MAX_ECHO_LENGTH or not (text.isascii() and text.isdigit()):
        return None
    return int(text)
