"""What the broker holds for one client: subscriptions, messages that wait, messages under way.

No I/O and no clock: packets go to the session's outlet, the time comes with the call.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, field, replace
from typing import Protocol

from edge.broker import filters
from edge.broker.packets import Packet, Publish, Subscription, Will, encode
from edge.broker.wire import MAX_VARINT, Property, Reason

OVERHEAD_BYTES = 200
"""Of an object that is held, beside its text."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Of a broker: hostile or broken clients cost it no more than this."""

    max_packet_bytes: int = 1 << 20
    max_connections: int = 1_000
    max_sessions: int = 1_000
    max_subscriptions: int = 100
    max_in_flight: int = 20
    max_queued: int = 1_000
    max_queued_bytes: int = 4 << 20
    max_retained: int = 10_000
    max_retained_bytes: int = 64 << 20
    max_session_s: int = 14 * 86_400
    connect_s: float = 10.0


class Outlet(Protocol):
    """The connection of a client."""

    is_full: bool
    """The client does not read: nothing more should be sent now."""

    def send(self, packet: Packet) -> None:
        """In order."""
        ...

    def end(self, reason: Reason) -> None:
        """Tell the client why, and close. Idempotent."""
        ...


def size_of(message: Publish) -> int:
    """About what it costs to hold, in bytes. A property of two letters costs as much as a hundred:
    what came in few bytes is not cheap to keep."""
    size = OVERHEAD_BYTES + len(message.topic) + len(message.payload)
    for value in message.properties.values():
        if isinstance(value, tuple):
            size += sum(OVERHEAD_BYTES + len(key) + len(text) for key, text in value)
        elif not isinstance(value, int):
            size += len(value)
    return size


@dataclass(frozen=True, slots=True)
class Delivery:
    """One message on its way to one client."""

    message: Publish
    qos: int
    is_retained: bool
    expires_at: float | None
    size_bytes: int
    """About what it costs to hold: ``size_of`` the message."""

    def packet(self, id: int, now: float, *, is_duplicate: bool = False) -> Publish:
        """As it is sent; the expiry is what is left of it."""
        properties = dict(self.message.properties)
        if self.expires_at is not None:
            left_s = max(1, math.ceil(self.expires_at - now))
            properties[Property.MESSAGE_EXPIRY] = min(left_s, 0xFFFF_FFFF)
        return replace(
            self.message,
            qos=self.qos,
            is_retained=self.is_retained,
            is_duplicate=is_duplicate,
            id=id,
            properties=properties,
        )


@dataclass(slots=True)
class Session:
    """``ends_at``: when it is forgotten, if the client stays away. ``will_at``: when its will is
    published, if it stays away."""

    client: str
    user: str | None
    limits: Limits
    expiry_s: int = 0
    outlet: Outlet | None = None
    receive_maximum: int = 0xFFFF
    max_packet_bytes: int = MAX_VARINT
    subscriptions: dict[str, Subscription] = field(default_factory=dict)
    will: Will | None = None
    will_at: float | None = None
    ends_at: float | None = None
    dropped: int = 0
    _queue: deque[Delivery] = field(default_factory=deque)
    _queued_bytes: int = 0
    _in_flight: dict[int, Delivery] = field(default_factory=dict)
    _again: deque[int] = field(default_factory=deque)
    """Those in flight that this connection has not been sent yet."""
    _last_id: int = 0

    def wanted(self, topic: str, is_own: bool) -> list[Subscription]:
        """The subscriptions that match."""
        return [
            one
            for name, one in self.subscriptions.items()
            if filters.matches(name, topic) and not (is_own and one.is_not_local)
        ]

    def offer(self, delivery: Delivery, now: float) -> None:
        """Send it now or later; QoS 0 now or never. Beyond the limits it is dropped."""
        is_away = self.outlet is None or self.outlet.is_full
        if (
            (is_away and delivery.qos == 0)
            or len(self._queue) >= self.limits.max_queued
            or self._queued_bytes + delivery.size_bytes > self.limits.max_queued_bytes
        ):
            self.dropped += 1
            return
        self._queue.append(delivery)
        self._queued_bytes += delivery.size_bytes
        self.flush(now)

    def acknowledge(self, id: int, now: float) -> None:
        """The client has it; an unknown number is no harm."""
        if self._in_flight.pop(id, None) is not None:
            if id in self._again:
                self._again.remove(id)
            self.flush(now)

    def resume(self, now: float) -> None:
        """After a new connection: what is not acknowledged again, then what waits."""
        self._again = deque(self._in_flight)
        self.flush(now)

    def flush(self, now: float) -> None:
        """Send what may be sent."""
        room = min(self.receive_maximum, self.limits.max_in_flight)
        while self._again and self.outlet is not None and not self.outlet.is_full:
            if len(self._in_flight) - len(self._again) >= room:
                return
            self._send_again(self.outlet, self._again.popleft(), now)
        while self._queue and self.outlet is not None and not self.outlet.is_full:
            delivery = self._queue[0]
            if delivery.qos and len(self._in_flight) >= room:
                return
            self._queue.popleft()
            self._queued_bytes -= delivery.size_bytes
            self._send(self.outlet, delivery, now)

    def _send(self, outlet: Outlet, delivery: Delivery, now: float) -> None:
        id = self._next_id() if delivery.qos else 0
        packet = delivery.packet(id, now)
        is_expired = delivery.expires_at is not None and delivery.expires_at <= now
        if is_expired or not self._has_room(packet):
            self.dropped += 1
            return
        if id:
            self._last_id = id
            self._in_flight[id] = delivery
        outlet.send(packet)

    def _send_again(self, outlet: Outlet, id: int, now: float) -> None:
        packet = self._in_flight[id].packet(id, now, is_duplicate=True)
        if self._has_room(packet):
            outlet.send(packet)
        else:  # it takes less than it did before
            del self._in_flight[id]
            self.dropped += 1

    def _has_room(self, packet: Publish) -> bool:
        """Whether the client takes packets of that size."""
        least = len(packet.payload) + len(packet.topic)
        if least + 64 * 1024 < self.max_packet_bytes:
            return True
        return len(encode(packet)) <= self.max_packet_bytes

    def _next_id(self) -> int:
        id = self._last_id
        while True:
            id = id % 0xFFFF + 1
            if id not in self._in_flight:
                return id
