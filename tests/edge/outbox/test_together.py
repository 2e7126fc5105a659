"""The real outbox, uplink and hub, over a link in memory that loses things."""

from __future__ import annotations

import random
import threading
from pathlib import Path

from edge.hub.batch import decide, read
from edge.link.port import Message, OnConnected, OnMessage
from edge.messages import codec
from edge.messages.telemetry import Ack, StreamAck
from edge.outbox.uplink import Uplink
from tests.edge.outbox.boxes import Times, limits, opened, records, wait_for


class LossyHub:
    """Link and hub in one: stores as the hub does, and loses some of the answers."""

    def __init__(self) -> None:
        self.is_connected = True
        self.uplink: Uplink | None = None
        self.high = dict.fromkeys(range(4), 0)
        self.stored: dict[int, list[int]] = {n: [] for n in range(4)}
        self.lost = 0
        self.dice = random.Random(1)

    def start(
        self,
        *,
        subscriptions: object,
        on_message: OnMessage,
        on_connected: OnConnected,
        will: Message | None = None,
    ) -> None: ...

    def stop(self, last: Message | None = None) -> None: ...

    def publish(self, message: Message) -> bool:
        batch = read(message.payload)
        decision = decide(self.high[batch.stream], batch)
        self.stored[batch.stream] += [
            record.seq for record in batch.records if record.seq > self.high[batch.stream]
        ]
        self.lost += sum(gap.last - gap.first + 1 for gap in decision.gaps)
        self.high[batch.stream] = decision.high
        if self.dice.random() < 0.7:
            self.say(batch.life, {batch.stream: decision.high}, int(message.properties["mono"]))
        return True

    def say(self, life: str, streams: dict[int, int], echo: int | None = None) -> None:
        ack = Ack(1, life, [StreamAck(*each) for each in streams.items()], 10**12, echo)
        uplink = self.uplink
        assert uplink is not None
        threading.Thread(target=uplink.on_ack, args=(codec.encode(ack),)).start()


def test_what_threads_append_reaches_the_hub_and_is_forgotten(tmp_path: Path) -> None:
    clock, hub = Times().clock(), LossyHub()
    with opened(tmp_path / "o.db", clock, limits(records=3000)) as box:
        hub.uplink = uplink = Uplink("dev", box, hub, clock, bytes_per_day=lambda: 10**9)
        box.on_commit = uplink.on_commit
        stopping = threading.Event()
        work = threading.Thread(target=uplink.work, args=(stopping,))
        work.start()
        uplink.on_announced()
        hub.say(box.life, {})

        def append(stream: int) -> None:
            for _ in range(20):
                box.append(records(50, stream=stream, pad=300))

        threads = [threading.Thread(target=append, args=(n,)) for n in (0, 1, 1, 3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        wait_for(lambda: uplink.flush(0.1) == "the hub has everything", 90)
        stopping.set()
        uplink.stop()
        work.join(60)
        assert not work.is_alive()
        assert hub.lost == 0
        assert {n: len(found) for n, found in hub.stored.items()} == {
            0: 1000,
            1: 2000,
            2: 0,
            3: 1000,
        }
        assert all(found == sorted(set(found)) for found in hub.stored.values())
        assert box.report().records == 0
        assert box.noted("budget") is not None
