"""Many devices that do nothing but send telemetry, in a process of their own: batches that are made
before the clock runs, a few of each device under way, sent again when no acknowledgement comes.

    python -m benchmarks.edge.simulated LOAD_AS_JSON pipe ADDRESS
    python -m benchmarks.edge.simulated LOAD_AS_JSON broker PORT

It prints "ready", begins when it is told by a line, prints what it counted, and ends by a line.
"""

from __future__ import annotations

import json
import random
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from multiprocessing.connection import Client, Connection
from typing import cast

import msgspec

from edge import topics
from edge.link.mqtt import LinkConfig, MqttLink
from edge.link.port import Link, Message, OnConnected, OnMessage
from edge.messages import codec
from edge.messages.telemetry import Ack, Batch, Record

BODY_BYTES = 1_000
WINDOW = 4
"""Batches of a device under way."""
RESEND_S = 5.0
LIFE = "simulated"


@dataclass(frozen=True, slots=True)
class Load:
    """``batches`` of each of the ``devices``, each of so many ``records``."""

    devices: int = 100
    batches: int = 40
    records: int = 100

    @property
    def total(self) -> int:
        """Records, all together."""
        return self.devices * self.batches * self.records


class PipeLink:
    """A Link without a broker: its other end is one of these in another process."""

    def __init__(self, connection: Connection) -> None:
        self.is_connected = True
        self._connection = connection
        self._sending = threading.Lock()

    def start(
        self,
        *,
        subscriptions: Sequence[str],
        on_message: OnMessage,
        on_connected: OnConnected,
        will: Message | None = None,
    ) -> None:
        """Everything that comes is handed on, whatever the subscriptions."""

        def read() -> None:
            on_connected()
            with suppress(EOFError, OSError):
                while True:
                    topic, _, payload = self._connection.recv_bytes().partition(b"\0")
                    on_message(Message(topic.decode(), payload))

        threading.Thread(target=read, daemon=True).start()

    def publish(self, message: Message) -> bool:
        """Waits until the other end has room."""
        with self._sending, suppress(OSError):
            self._connection.send_bytes(message.topic.encode() + b"\0" + message.payload)
            return True
        return False

    def stop(self, last: Message | None = None) -> None:
        """Closes it."""
        self.is_connected = False
        self._connection.close()


def name_of(number: int) -> str:
    """Of a device."""
    return f"device-{number}"


def payloads(count: int, records: int, seed: int = 5) -> list[bytes]:
    """Batches of one stream, as an outbox sends them. The numbers are those of a noisy sensor, so
    that they deflate to about a third."""
    draw = random.Random(seed)
    made = []
    for number in range(count):
        first = number * records + 1
        rows = [_record(seq, draw) for seq in range(first, first + records)]
        batch = Batch(codec.VERSION, LIFE, 0, 1, first, first + records - 1, rows)
        made.append(codec.deflate(codec.encode(batch)))
    return made


def _record(seq: int, draw: random.Random) -> Record:
    body: dict[str, object] = {"line": "north", "state": "running", "values": {}}
    values = cast("dict[str, float]", body["values"])
    while len(encoded := json.dumps(body).encode()) < BODY_BYTES:
        values[f"sensor_{len(values)}"] = round(draw.gauss(20, 5), 4)
    at_ms = seq * 100
    raw = msgspec.Raw(encoded)
    return Record(seq, 1_800_000_000_000 + at_ms, at_ms, "digits", "metrics", raw)


class Devices:
    """All of them: what of each is acknowledged, and what it sends next. Device n speaks by the
    link n, or by the only one."""

    def __init__(self, load: Load, links: Sequence[Link]) -> None:
        self.resent = 0
        self._load = load
        self._links = links
        self._payloads = payloads(load.batches, load.records)
        self._topics = [topics.topic(name_of(n), topics.TELEMETRY) for n in range(load.devices)]
        self._is_done = threading.Event()
        self._lock = threading.RLock()
        self._acked = [0] * load.devices
        self._sent = [0] * load.devices
        self._heard_s = [0.0] * load.devices
        self._left = load.devices

    def run(self) -> None:
        """Until all is acknowledged."""
        while not self._is_done.is_set():
            now_s = time.monotonic()
            for device in range(self._load.devices):
                with self._lock:
                    is_late = now_s - self._heard_s[device] > RESEND_S
                    if is_late and self._sent[device] > self._acked[device]:
                        self.resent += self._sent[device] - self._acked[device]
                        self._sent[device] = self._acked[device]
                self._send(device)
            self._is_done.wait(0.05)

    def hear(self, message: Message) -> None:
        """An acknowledgement."""
        device, kind = topics.parse(message.topic)
        if kind != topics.ACK:
            return
        number = int(device.removeprefix("device-"))
        ack = codec.decode(message.payload, Ack)
        batches = max((stream.seq for stream in ack.streams), default=0) // self._load.records
        with self._lock:
            if ack.life != LIFE or batches <= self._acked[number]:
                return
            self._acked[number] = batches
            self._heard_s[number] = time.monotonic()
            self._left -= batches == self._load.batches
            if not self._left:
                self._is_done.set()
        self._send(number)

    def _send(self, device: int) -> None:
        link = self._links[device % len(self._links)]
        with self._lock:
            while self._sent[device] < min(self._acked[device] + WINDOW, self._load.batches):
                payload = self._payloads[self._sent[device]]
                if not link.publish(Message(self._topics[device], payload)):
                    return
                self._sent[device] += 1
                self._heard_s[device] = time.monotonic()


def play(load: Load, links: Sequence[Link]) -> None:
    """Begin, count and end as said above."""
    played = Devices(load, links)
    connected = threading.Semaphore(0)
    for number, link in enumerate(links):
        heard = range(number, load.devices, len(links))
        link.start(
            subscriptions=[topics.topic(name_of(device), topics.ACK) for device in heard],
            on_message=played.hear,
            on_connected=connected.release,
        )
    for _ in links:
        assert connected.acquire(timeout=60)
    print("ready", flush=True)
    sys.stdin.readline()
    played.run()
    print(json.dumps({"resent": played.resent}), flush=True)
    sys.stdin.readline()


def main() -> None:
    """Of this process."""
    load = msgspec.json.decode(sys.argv[1], type=Load)
    with ExitStack() as stack:
        links: list[Link]
        if sys.argv[2] == "pipe":
            connection = stack.enter_context(Client(sys.argv[3], "AF_UNIX"))
            links = [PipeLink(connection)]
        else:
            links = [_mqtt(name_of(n), int(sys.argv[3])) for n in range(load.devices)]
        for link in links:
            stack.callback(link.stop)
        play(load, links)


def _mqtt(client: str, port: int) -> Link:
    return MqttLink(LinkConfig(client, "127.0.0.1", port, min_wait_s=0.01))


if __name__ == "__main__":
    main()
