"""Links in use, for tests: quick ones, that remember what they hear."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from edge.link.mqtt import LinkConfig, MqttLink
from edge.link.port import Message

WAIT_S = 45.0
QUICK = LinkConfig("a", "127.0.0.1", min_wait_s=0.02, max_wait_s=0.1, will_delay_s=0)


def wait_for(what: Callable[[], object]) -> None:
    """Until it is so."""
    deadline = time.monotonic() + WAIT_S
    while not what():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def is_link(thread: threading.Thread) -> bool:
    """Of a link, or of its paho."""
    return thread.name == "link" or "paho" in thread.name


def at(port: int, client: str = "a", **changes: Any) -> LinkConfig:
    """A quick link to there."""
    return replace(QUICK, client=client, port=port, **changes)


class User:
    """A link in use: queues of what arrives and of connections."""

    def __init__(self, config: LinkConfig, **options: Any) -> None:
        self.link = MqttLink(config, draw=lambda: 0.5, **options)
        self.heard: queue.SimpleQueue[Message] = queue.SimpleQueue()
        self.connected: queue.SimpleQueue[None] = queue.SimpleQueue()

    def start(self, *subscriptions: str, will: Message | None = None) -> None:
        self.link.start(
            subscriptions=subscriptions,
            on_message=self.heard.put,
            on_connected=lambda: self.connected.put(None),
            will=will,
        )

    def wait_connected(self) -> None:
        self.connected.get(timeout=WAIT_S)

    def next(self) -> Message:
        return self.heard.get(timeout=WAIT_S)


Users = Callable[..., User]
