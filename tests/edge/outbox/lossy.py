"""A device, a hub and a bad network between them, in simulated time. The device's uplink, its
packing and the hub's decision are the real ones; the outbox is one in memory."""

from __future__ import annotations

import heapq
import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count

from edge.hub.batch import decide, read
from edge.link.port import Message, OnConnected, OnMessage
from edge.messages import codec
from edge.messages.telemetry import Ack, Gap, StreamAck
from edge.outbox.packet import Packet, contents, pack
from edge.outbox.record import MAX_BATCH_BYTES, STREAMS
from edge.outbox.table import Row, StreamState
from edge.outbox.uplink import Uplink
from tests.edge.outbox.boxes import Times

DAY_S = 86_400.0
HUB_MS = 1_800_000_000_000


class MemoryBox:
    """What Uplink needs of an outbox."""

    def __init__(self) -> None:
        self.lives = count(1)
        self.notes: dict[str, bytes] = {}
        self.begin_life()

    def begin_life(self) -> None:
        self.life = f"life-{next(self.lives)}"
        self.entries: dict[int, list[Row | Gap]] = {n: [] for n in range(STREAMS)}
        self.next_seq = dict.fromkeys(range(STREAMS), 1)
        self.base = dict.fromkeys(range(STREAMS), 1)
        self.sent = dict.fromkeys(range(STREAMS), 0)

    @property
    def streams(self) -> dict[int, StreamState]:
        return {n: StreamState(self.next_seq[n], self.base[n], 0, 0, 0) for n in range(STREAMS)}

    def append(self, stream: int, body: bytes) -> int:
        seq = self.next_seq[stream]
        self.entries[stream].append(Row(seq, 1, seq, 0, None, "m", "k", body))
        self.next_seq[stream] = seq + 1
        return seq

    def drop_oldest(self, stream: int, how_many: int) -> None:
        self.entries[stream] = [
            Gap(each.seq, each.seq, "full") if i < how_many and isinstance(each, Row) else each
            for i, each in enumerate(self.entries[stream])
        ]

    def packet(self, stream: int, after: int, max_bytes: int = MAX_BATCH_BYTES) -> Packet | None:
        after = max(after, self.base[stream] - 1)
        until = min(self.next_seq[stream] - 1, after + 1 + max_bytes // 5)
        entries = self.entries[stream][after + 1 - self.base[stream] : until]
        rows = [each for each in entries if isinstance(each, Row)]
        gaps = [each for each in entries if isinstance(each, Gap)]
        found = pack(
            contents([row for row in rows if row.seq <= until], gaps, after, until),
            life=self.life, stream=stream, base=self.base[stream], boots={},
            hub_time_ms=lambda stamp: None, max_bytes=max_bytes,
        )  # fmt: skip
        if found is not None:
            self.sent[stream] = max(self.sent[stream], found.batch.last)
        return found

    def acknowledge(self, stream: int, seq: int, life: str | None = None) -> bool:
        assert life in (None, self.life)
        assert seq <= self.sent[stream], "the hub knows what was never sent"
        if seq >= self.base[stream]:
            self.base[stream] = seq + 1
            self.entries[stream] = [
                each
                for each in self.entries[stream]
                if (each.seq if isinstance(each, Row) else each.last) > seq
            ]
        return True

    def note(self, name: str, value: bytes) -> None:
        self.notes[name] = value

    def noted(self, name: str) -> bytes | None:
        return self.notes.get(name)


@dataclass
class Hub:
    """What is durable there: by (life, stream), bodies by number, and gaps."""

    high: dict[tuple[str, int], int] = field(default_factory=dict)
    records: dict[tuple[str, int], dict[int, bytes]] = field(default_factory=dict)
    gaps: dict[tuple[str, int], list[Gap]] = field(default_factory=dict)
    arrived: list[tuple[int, int, int]] = field(default_factory=list)

    def take(self, payload: bytes) -> tuple[str, dict[int, int]]:
        batch = read(payload)
        key = (batch.life, batch.stream)
        decision = decide(self.high.get(key, 0), batch)
        mine = self.records.setdefault(key, {})
        for record in batch.records:
            if record.seq in range(decision.first or 0, (decision.last or -1) + 1):
                assert record.seq not in mine, "stored twice"
                mine[record.seq] = bytes(record.body)
        self.gaps.setdefault(key, []).extend(decision.gaps)
        assert decision.high >= self.high.get(key, 0)
        self.high[key] = decision.high
        self.arrived.append((batch.stream, batch.first, batch.last))
        return batch.life, {batch.stream: decision.high}

    def copy(self) -> Hub:
        return Hub(
            dict(self.high),
            {key: dict(each) for key, each in self.records.items()},
            {key: list(each) for key, each in self.gaps.items()},
            list(self.arrived),
        )

    def streams(self, life: str) -> dict[int, int]:
        return {stream: high for (of, stream), high in self.high.items() if of == life}

    def check(self, key: tuple[str, int], appended: dict[int, bytes]) -> None:
        """Each number once: as the record that was appended, or in a gap."""
        seen = sorted(
            [*((seq, seq) for seq in self.records.get(key, {}))]
            + [(gap.first, gap.last) for gap in self.gaps.get(key, [])]
        )
        expected = 1
        for first, last in seen:
            assert first == expected, (key, first, expected)
            expected = last + 1
        assert expected == self.high.get(key, 0) + 1 == max(appended, default=0) + 1
        for seq, body in self.records.get(key, {}).items():
            assert appended[seq] == body


class World:
    """``delay_s``: one way; ``bytes_per_s``: up; ``lose``: of messages that a connection takes."""

    def __init__(
        self,
        seed: int,
        *,
        delay_s: float = 0.05,
        jitter_s: float = 0.0,
        bytes_per_s: float = 1e6,
        lose: float = 0.0,
        repeat: float = 0.0,
        bytes_per_day: int | None = None,
    ) -> None:
        self.dice = random.Random(seed)
        self.delay_s, self.jitter_s, self.bytes_per_s = delay_s, jitter_s, bytes_per_s
        self.lose, self.repeat = lose, repeat
        self.bytes_per_day = bytes_per_day
        self.now_s = 1000.0
        self.times = Times()
        self.clock = self.times.clock()
        self.box = MemoryBox()
        self.hub = Hub()
        self.is_connected = False
        self.is_hub_up = True
        self.connection = 0
        self.wire_bytes = 0
        self.by_day: Counter[int] = Counter()
        self.free_at_s = 0.0
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._order = count()
        self.restart_device()

    def restart_device(self) -> None:
        """A new process with the same outbox; connected again later."""
        self.is_connected = False
        self.uplink = Uplink(
            "dev", self.box, self, self.clock, bytes_per_day=lambda: self.bytes_per_day,  # type: ignore[arg-type]
            monotonic=lambda: self.now_s,
        )  # fmt: skip

    # The link.

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
        if not self.is_connected:
            return False
        size = len(message.payload) + 80
        self.wire_bytes += size
        self.by_day[int((HUB_MS / 1000 + self.now_s) // DAY_S)] += size
        self.free_at_s = max(self.free_at_s, self.now_s) + size / self.bytes_per_s
        connection, mono = self.connection, int(message.properties["mono"])
        copies = 1 + (self.dice.random() < self.repeat)
        if self.dice.random() >= self.lose:
            for _ in range(copies):
                self._at(
                    self.free_at_s - self.now_s + self._delay(),
                    lambda: self._reach_hub(message.payload, connection, mono),
                )
        return True

    # What happens.

    def connect(self) -> None:
        self.is_connected = True
        self.connection += 1
        self.free_at_s = self.now_s
        life, connection = self.box.life, self.connection
        mono = int(self.clock.mark())
        self._at(self._delay(), lambda: self._birth(life, connection, mono))
        self.uplink.on_announced()

    def cut(self) -> None:
        self.is_connected = False

    def run(self, seconds: float, every: Callable[[], None] = lambda: None) -> None:
        """The device's thread steps, and messages arrive, until then."""
        until = self.now_s + seconds
        while self.now_s < until:
            every()
            wait = self.uplink.step()
            if wait <= 0:
                continue
            at = min(until, self.now_s + wait, *(event[0] for event in self._events[:1]))
            self.times.mono += round((at - self.now_s) * 1000)
            self.now_s = at
            while self._events and self._events[0][0] <= self.now_s:
                heapq.heappop(self._events)[2]()

    def drain(self, seconds: float) -> None:
        """Until the hub has everything."""
        until = self.now_s + seconds
        while not self.uplink.is_empty():
            assert self.now_s < until, "it is stuck"
            self.run(1.0)

    def _delay(self) -> float:
        return self.delay_s + self.dice.random() * self.jitter_s

    def _at(self, after_s: float, do: Callable[[], None]) -> None:
        heapq.heappush(self._events, (self.now_s + after_s, next(self._order), do))

    def _reach_hub(self, payload: bytes, connection: int, mono: int) -> None:
        # What the broker had taken arrives, though the connection is gone since.
        if not self.is_hub_up or (connection != self.connection and self.dice.random() < 0.5):
            return
        self._answer(*self.hub.take(payload), mono)

    def _birth(self, life: str, connection: int, mono: int | None) -> None:
        if self.is_hub_up and connection == self.connection:
            self._answer(life, self.hub.streams(life), mono)

    def hub_back(self) -> None:
        """It finds the births that the broker keeps."""
        self.is_hub_up = True
        self._birth(self.box.life, self.connection, None)

    def _answer(self, life: str, streams: dict[int, int], mono: int | None) -> None:
        ack = Ack(
            1, life, [StreamAck(*each) for each in streams.items()],
            HUB_MS + round(self.now_s * 1000), mono,
        )  # fmt: skip
        data, connection = codec.encode(ack), self.connection

        def arrive() -> None:
            if self.is_connected and connection == self.connection:
                self.uplink.on_ack(data)

        if self.dice.random() >= self.lose:
            self._at(self._delay(), arrive)
