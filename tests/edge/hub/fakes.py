"""A broker in memory with one client, batches, and what waits for a condition."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Sequence
from typing import TypeVar

import msgspec

from edge import topics
from edge.link.port import Message, OnConnected, OnMessage
from edge.messages import codec
from edge.messages.telemetry import Batch, Gap, Record

NOW_MS = 1_800_000_000_000
T = TypeVar("T")


class FakeLink:
    """Takes messages up to ``room`` while it is connected; tests say what arrives."""

    def __init__(self) -> None:
        self.is_connected = False
        self.room = 10**9
        self.sent: list[Message] = []
        self.is_stopped = False
        self._lock = threading.Lock()
        self._on_message: OnMessage | None = None
        self._on_connected: OnConnected | None = None
        self.subscriptions: Sequence[str] = ()

    def start(
        self,
        *,
        subscriptions: Sequence[str],
        on_message: OnMessage,
        on_connected: OnConnected,
        will: Message | None = None,
    ) -> None:
        assert will is None
        self.subscriptions = subscriptions
        self._on_message, self._on_connected = on_message, on_connected

    def publish(self, message: Message) -> bool:
        with self._lock:
            if not self.is_connected or self.room == 0:
                return False
            self.room -= 1
            self.sent.append(message)
            return True

    def stop(self, last: Message | None = None) -> None:
        self.is_stopped = True
        self.is_connected = False

    def connect(self) -> None:
        assert self._on_connected is not None
        self.is_connected = True
        self._on_connected()

    def arrive(
        self,
        device: str,
        kind: str,
        payload: bytes | msgspec.Struct,
        *,
        mono: str | None = None,
        is_retained: bool = False,
    ) -> None:
        """A message of a device."""
        if isinstance(payload, msgspec.Struct):
            payload = codec.encode(payload)
        properties = {} if mono is None else {"mono": mono}
        self.arrive_on(
            Message(topics.topic(device, kind), payload, is_retained, properties=properties)
        )

    def arrive_on(self, message: Message) -> None:
        assert self._on_message is not None
        self._on_message(message)

    def of(self, device: str, kind: str) -> list[Message]:
        """What was sent there."""
        with self._lock:
            return [one for one in self.sent if one.topic == topics.topic(device, kind)]


def record(seq: int, *, time_ms: int | None = NOW_MS, source: str = "m", kind: str = "k") -> Record:
    body = json.dumps({"seq": seq}).encode()
    return Record(seq, time_ms, 5, source, kind, msgspec.Raw(body))


def batch(
    first: int,
    last: int,
    *,
    base: int = 1,
    life: str = "life",
    stream: int = 0,
    gaps: Sequence[Gap] = (),
    records: Sequence[Record] | None = None,
) -> Batch:
    """The numbers ``first`` to ``last``; a record for each that is in no gap."""
    if records is None:
        missing = {n for gap in gaps for n in range(gap.first, gap.last + 1)}
        records = [record(n) for n in range(first, last + 1) if n not in missing]
    return Batch(codec.VERSION, life, stream, base, first, last, list(records), list(gaps))


def packed(message: msgspec.Struct) -> bytes:
    """As it is on the wire."""
    return codec.deflate(codec.encode(message))


def wait_for(condition: Callable[[], T], within_s: float = 45.0) -> T:
    """What ``condition`` says once it is true."""
    deadline = time.monotonic() + within_s
    while not (found := condition()):
        assert time.monotonic() < deadline, "it did not come true"
        threading.Event().wait(0.005)
    return found
