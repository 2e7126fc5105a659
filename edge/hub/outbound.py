"""What is to be said to devices, until the link has taken it: acknowledgements first, then
commands, then desired states. Each is kept once, and only its newest form goes out, so that it is
bounded by the number of devices and open commands.

Nothing here is lost when the hub ends: all of it is in the database, or is asked for again.
"""

from __future__ import annotations

import logging
import sqlite3
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from edge import topics
from edge.errors import EdgeError
from edge.hub import command_queue
from edge.hub.counters import Counters
from edge.hub.database import Database
from edge.hub.port import DesiredFor
from edge.link.port import Link, Message
from edge.messages import codec
from edge.messages.commands import Command
from edge.messages.telemetry import Ack, StreamAck

log = logging.getLogger(__name__)
MAX_ACKS = 100_000
MAX_SENT = 100_000
AT_ONCE = 100
"""Desired states that are read in one view of the database."""
RETRY_S = 0.05


@dataclass(slots=True)
class _Due:
    """An acknowledgement: the highest numbers, and the echo of the newest message."""

    streams: dict[int, int] = field(default_factory=dict)
    echo_ms: int | None = None


class Outbound:
    """``run`` is a thread's; the other methods may be called by any."""

    def __init__(
        self,
        database: Database,
        link: Link,
        desired_for: DesiredFor,
        counters: Counters,
        now_ms: Callable[[], int],
    ) -> None:
        self._database = database
        self._link = link
        self._desired_for = desired_for
        self._counters = counters
        self._now_ms = now_ms
        self._due = threading.Condition()
        self._acks: dict[tuple[str, str], _Due] = {}
        self._commands: dict[str, None] = {}
        self._desired: dict[str, None] = {}
        self._cleared: dict[str, None] = {}
        self._published: dict[str, int] = {}
        self._sent: set[str] = set()
        self._is_stopped = False

    def ack(
        self, device: str, life: str, streams: Mapping[int, int], echo_ms: int | None = None
    ) -> None:
        """All these numbers are durable. What cannot be held is dropped: the device asks again."""
        with self._due:
            due = self._acks.get((device, life))
            if due is None:
                if len(self._acks) >= MAX_ACKS:
                    self._counters.add("dropped_total", "acknowledgement")
                    return
                due = self._acks[device, life] = _Due()
            due.echo_ms = echo_ms if echo_ms is not None else due.echo_ms
            for stream, number in streams.items():
                due.streams[stream] = max(number, due.streams.get(stream, 0))
            self._due.notify()

    def publish_commands(self, ids: Iterable[str], *, again: bool = False) -> None:
        """Send these, if they are open when their turn comes. ``again``: also what was sent."""
        with self._due:
            for id in ids:
                if again or id not in self._sent:
                    self._commands[id] = None
            self._due.notify()

    def publish_desired(self, devices: Iterable[str]) -> None:
        """Ask for these desired states, and publish those of another version than published."""
        with self._due:
            self._desired.update(dict.fromkeys(devices))
            self._due.notify()

    def forget(self) -> None:
        """What was published or sent may be lost: it is a new connection, perhaps to a broker that
        begins anew. Quick; what is then asked for is published again."""
        with self._due:
            self._published.clear()
            self._sent.clear()

    def clear(self, devices: Iterable[str]) -> None:
        """Take away what the broker keeps for these: they are enrolled no more."""
        with self._due:
            for device in devices:
                self._published.pop(device, None)
                for kind in (topics.DESIRED, topics.STATUS, topics.REPORTED):
                    self._cleared[topics.topic(device, kind)] = None
            self._due.notify()

    def stop(self) -> None:
        """``run`` ends soon."""
        with self._due:
            self._is_stopped = True
            self._due.notify_all()

    def run(self) -> None:
        """Until ``stop``. Raises what the database raises; what is due stays so."""
        while True:
            with self._due:
                while not self._is_stopped and not self._has_work():
                    self._due.wait()
                if self._is_stopped:
                    return
            if not self.send():
                with self._due:
                    if not self._is_stopped:
                        self._due.wait(RETRY_S)

    def send(self) -> bool:
        """Everything that is due, as far as the link takes it: False when it took less."""
        return (
            self._send_acks()
            and self._send_commands()
            and self._send_cleared()
            and self._send_desired()
        )

    def _has_work(self) -> bool:
        return bool(self._acks or self._commands or self._cleared or self._desired)

    def _send_acks(self) -> bool:
        while True:
            with self._due:
                if not self._acks:
                    return True
                key = next(iter(self._acks))
                due = self._acks.pop(key)
            device, life = key
            streams = [StreamAck(stream, number) for stream, number in sorted(due.streams.items())]
            ack = Ack(codec.VERSION, life, streams, self._now_ms(), due.echo_ms)
            if not self._publish(Message(topics.topic(device, topics.ACK), codec.encode(ack))):
                self.ack(device, life, due.streams, due.echo_ms)
                return False
            self._counters.add("acknowledgements_total")

    def _send_commands(self) -> bool:
        while True:
            with self._due:
                ids = list(self._commands)[:AT_ONCE]
            if not ids:
                return True
            with self._database.reader() as connection:
                found = [command_queue.command(connection, id, self._now_ms()) for id in ids]
            for id, one in zip(ids, found, strict=True):
                if one is not None and not self._send_command(*one):
                    return False
                with self._due:
                    self._commands.pop(id, None)
                    if len(self._sent) >= MAX_SENT:
                        self._sent.clear()  # some are sent once more, and done once
                    self._sent.add(id)

    def _send_command(self, device: str, command: Command) -> bool:
        left_ms = command.expires_ms - self._now_ms()
        if left_ms <= 0:
            return True
        message = Message(
            topics.topic(device, topics.COMMAND),
            codec.encode(command),
            expiry_s=-(-left_ms // 1000),
        )
        if not self._publish(message):
            return False
        self._counters.add("commands_published_total")
        return True

    def _send_cleared(self) -> bool:
        with self._due:
            due = list(self._cleared)
        for topic in due:
            if not self._publish(Message(topic, b"", is_retained=True)):
                return False
            with self._due:
                self._cleared.pop(topic, None)
        return True

    def _send_desired(self) -> bool:
        while True:
            with self._due:
                devices = list(self._desired)[:AT_ONCE]
                for device in devices:  # one that changes from now on is due again
                    del self._desired[device]
            if not devices:
                return True
            left = list(devices)
            try:
                with self._database.reader() as connection:
                    while left:
                        if not self._send_one_desired(connection, left[0]):
                            return False
                        left.pop(0)
            finally:
                with self._due:
                    self._desired.update(dict.fromkeys(left))

    def _send_one_desired(self, connection: sqlite3.Connection, device: str) -> bool:
        try:
            desired = self._desired_for(connection, device)
        except EdgeError as error:  # of this device: the others get theirs
            self._counters.add("failed_total", "desired")
            log.warning("%s gets no desired state: %s", device, error)
            return True
        if desired is None:
            return True
        with self._due:  # before it is published, so that a wish to publish it again is not lost
            if self._published.get(device) == desired.version:
                return True
            self._published[device] = desired.version
        topic = topics.topic(device, topics.DESIRED)
        if not self._publish(Message(topic, codec.encode(desired), is_retained=True)):
            with self._due:
                self._published.pop(device, None)
            return False
        self._counters.add("desired_published_total")
        return True

    def _publish(self, message: Message) -> bool:
        with self._due:
            if self._is_stopped:
                return False
        return self._link.publish(message)
