"""Sends what the outbox holds, and forgets it when the hub says that it has it.

uplink = Uplink("press-7", outbox, link, clock)
crew.add("uplink", uplink.work)
session.on_ack = uplink.on_ack            # quick: from the link's thread
session.on_announced = uplink.on_announced
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

from edge import topics
from edge.clock import DeviceClock
from edge.errors import InvalidMessageError
from edge.link.port import Link, Message
from edge.messages import codec
from edge.messages.telemetry import Ack
from edge.outbox import budget
from edge.outbox.outbox import Outbox
from edge.outbox.packet import Packet
from edge.outbox.record import MAX_BATCH_BYTES
from edge.outbox.uplink_policy import MIN_BYTES, Window

log = logging.getLogger(__name__)
OVERHEAD_BYTES = 80
"""Of a message on the wire beside its payload: topic, properties, acknowledgements, TLS."""
IDLE_S = 5.0
REFUSED_S = 0.2
"""The link takes no more: look again after this."""
MEET_S = 30.0
"""So long the hub may take to say, at the begin, what it has. It may know numbers that a restored
file gives a second time: what is sent before that is seen would pass for what it has."""
NOTE_EVERY_BYTES = 4096
"""So much of a day's bytes is forgotten when the process is killed."""
BUDGET = "budget"


class Uplink:
    """``bytes_per_day``: asked each time; None: no bound."""

    def __init__(
        self,
        device: str,
        outbox: Outbox,
        link: Link,
        clock: DeviceClock,
        *,
        bytes_per_day: Callable[[], int | None] = lambda: None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._topic = topics.topic(device, topics.TELEMETRY)
        self._outbox = outbox
        self._link = link
        self._clock = clock
        self._bytes_per_day = bytes_per_day
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._window = Window()
        self._life = ""
        self._is_announced = False
        self._is_met = False
        self._is_refused = False
        self._announced_s = 0.0
        self._budget = budget.decode(outbox.noted(BUDGET))
        self._noted_bytes = self._budget.spent_bytes

    @property
    def resent(self) -> int:
        """Batches that were sent more than once, since the start."""
        return self._window.resent

    def on_commit(self) -> None:
        """The outbox has something new."""
        self._wake.set()

    def on_announced(self) -> None:
        """The connection is a new one, and the hub knows that we are here."""
        with self._lock:
            self._window.reconnected()
            self._is_announced = True
            self._announced_s = self._monotonic()
        self._wake.set()

    def on_ack(self, payload: bytes) -> None:
        """From the link's thread. What cannot be read is passed over: the hub says it again."""
        try:
            ack = codec.decode(payload, Ack)
        except InvalidMessageError as error:
            log.warning("uplink: %s", error)
            return
        self._clock.observe(ack.time_ms, ack.echo_ms)
        if ack.life != self._outbox.life:
            return
        now_s = self._monotonic()
        with self._lock:
            self._begin_life()
            self._is_met = True
            for each in ack.streams:
                if self._outbox.acknowledge(each.stream, each.seq, ack.life):
                    self._window.acknowledged(each.stream, each.seq, now_s)
        self._wake.set()

    def work(self, stopping: threading.Event) -> None:
        """Until the end."""
        while not stopping.is_set():
            wait_s = self.step()
            if wait_s > 0:
                self._wake.wait(wait_s)
            self._wake.clear()
        self._note(is_last=True)

    def stop(self) -> None:
        """Have ``work`` look whether it is the end."""
        self._wake.set()

    def step(self) -> float:
        """Send what may be sent now; returns how long nothing will be, unless woken."""
        with self._lock:
            self._begin_life()
            now_s = self._monotonic()
            if not self._is_announced or not self._link.is_connected:
                return IDLE_S
            self._window.expire(now_s)
            if not self._is_met and now_s < self._announced_s + MEET_S:
                return self._announced_s + MEET_S - now_s
            if self._send_one(now_s):
                return 0.0
            if self._is_refused:
                return REFUSED_S
            return min(IDLE_S, self._window.next_timeout_s(now_s) or IDLE_S)

    def is_empty(self) -> bool:
        """Whether the hub has everything."""
        return all(each.next_seq <= each.base for each in self._outbox.streams.values())

    def flush(self, timeout_s: float = 20.0) -> str:
        """Wait until the hub has everything that is here now; says how it went."""
        deadline = self._monotonic() + timeout_s
        while self._monotonic() < deadline:
            if self.is_empty():
                return "the hub has everything"
            self._wake.set()
            time.sleep(0.05)
        return f"{self._outbox.report().records} records still wait"

    def _send_one(self, now_s: float) -> bool:
        self._is_refused = False
        state = self._outbox.streams
        holding = [n for n, each in state.items() if each.next_seq > each.base]
        for stream, after in self._window.wanted(holding):
            if state[stream].next_seq - 1 <= after:
                continue
            packet = self._outbox.packet(stream, after, self._max_bytes(stream))
            if packet is None or not self._allowed(packet, stream):
                continue
            if not self._send(packet):
                self._is_refused = True
                return False
            size = len(packet.payload) + OVERHEAD_BYTES
            self._window.sent(stream, packet.batch.first, packet.batch.last, now_s, size)
            return True
        return False

    def _max_bytes(self, stream: int) -> int:
        """What is left of the window, and of the day's bytes. A record that is larger than that
        is a batch all the same."""
        room = min(MAX_BATCH_BYTES, max(MIN_BYTES, self._window.room_bytes))
        left = self._today().left_bytes(stream, self._bytes_per_day())
        return room if left is None else max(1, min(room, left - OVERHEAD_BYTES))

    def _send(self, packet: Packet) -> bool:
        message = Message(self._topic, packet.payload, properties={"mono": self._clock.mark()})
        if not self._link.publish(message):
            return False
        self._budget = self._today().spend(len(packet.payload) + OVERHEAD_BYTES)
        self._note()
        return True

    def _allowed(self, packet: Packet, stream: int) -> bool:
        size = len(packet.payload) + OVERHEAD_BYTES
        return self._today().allows(size, stream, self._bytes_per_day())

    def _today(self) -> budget.Budget:
        day = budget.day_of(self._clock.hub_now_ms(), self._clock.mono_ms())
        self._budget = self._budget.at(day)
        return self._budget

    def _note(self, *, is_last: bool = False) -> None:
        bytes_per_day = self._bytes_per_day()
        if bytes_per_day is None:
            return
        step = min(NOTE_EVERY_BYTES, bytes_per_day // 20)
        if is_last or abs(self._budget.spent_bytes - self._noted_bytes) >= step:
            self._noted_bytes = self._budget.spent_bytes
            self._outbox.note(BUDGET, self._budget.encode())

    def _begin_life(self) -> None:
        """A new file has numbers of its own."""
        if self._outbox.life != self._life:
            self._is_met = bool(self._life)  # a life that began just now is known to nobody
            self._life = self._outbox.life
            self._window = Window(resent=self._window.resent)
