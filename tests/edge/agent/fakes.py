"""A link and parts for tests of the agent."""

from __future__ import annotations

import threading
from collections.abc import Sequence

from edge import topics
from edge.agent.modules import MakeUnit
from edge.agent.parts import Parts
from edge.hosts.port import ModuleHost
from edge.link.port import Message, OnConnected, OnMessage
from edge.messages.codec import decode
from edge.messages.reported import OutboxReport, Reported
from edge.messages.status import Status


class FakeLink:
    """A broker that keeps what was published; ``connect`` and ``hear`` play the other side."""

    def __init__(self) -> None:
        self.is_connected = False
        self.sent: list[Message] = []
        self.will: Message | None = None
        self.last: Message | None = None
        self.subscriptions: Sequence[str] = ()
        self._on_message: OnMessage | None = None
        self._on_connected: OnConnected | None = None
        self._lock = threading.Lock()

    def start(
        self,
        *,
        subscriptions: Sequence[str],
        on_message: OnMessage,
        on_connected: OnConnected,
        will: Message | None = None,
    ) -> None:
        self.subscriptions = subscriptions
        self._on_message, self._on_connected, self.will = on_message, on_connected, will

    def connect(self) -> None:
        self.is_connected = True
        assert self._on_connected is not None
        self._on_connected()

    def hear(self, device: str, kind: str, payload: bytes) -> None:
        assert self._on_message is not None
        self._on_message(Message(topics.topic(device, kind), payload))

    def publish(self, message: Message) -> bool:
        with self._lock:
            if self.is_connected:
                self.sent.append(message)
            return self.is_connected

    def stop(self, last: Message | None = None) -> None:
        self.last = last
        self.is_connected = False

    def reports(self) -> list[Reported]:
        with self._lock:
            found = [m for m in self.sent if m.topic.endswith(topics.REPORTED)]
        return [decode(message.payload, Reported) for message in found]

    def statuses(self) -> list[Status]:
        with self._lock:
            found = [m for m in self.sent if m.topic.endswith("/" + topics.STATUS)]
        return [decode(message.payload, Status) for message in found]


def parts(link: FakeLink, make_unit: MakeUnit, hosts: Sequence[ModuleHost] = ()) -> Parts:
    return Parts(
        link=link,
        hosts=hosts,
        make_unit=make_unit,
        outbox_report=lambda: OutboxReport(0, 0),
        hub_now_ms=lambda: 1000,
    )
