"""Links without a network, for tests: a broker in memory that can lose, repeat and reorder.

    broker = MemoryBroker()
    hub, device = broker.link("hub"), broker.link("press-7")
    device.start(...); broker.connect("press-7")
    broker.trouble = lambda message: Fate(is_lost=True)
    broker.deliver()                    # what is under way arrives, in the caller's thread

Nothing happens by itself: links connect and messages arrive when the test says so. Messages are at
least once, as at QoS 1: what is lost on the way comes again at the receiver's next connection.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from edge.broker.filters import matches
from edge.errors import LinkError
from edge.link.port import Message, OnConnected, OnMessage


@dataclass(frozen=True, slots=True)
class Fate:
    """Of one message to one receiver. ``copies``: how often it arrives; ``is_lost``: it arrives
    only after the receiver's next connection; ``is_late``: after all others under way."""

    copies: int = 1
    is_lost: bool = False
    is_late: bool = False


@dataclass(slots=True)
class _Use:
    subscriptions: tuple[str, ...]
    on_message: OnMessage
    on_connected: OnConnected
    will: Message | None


@dataclass(slots=True)
class MemoryLink:
    """Made by ``MemoryBroker.link``. ``room``: how many more messages it takes before the broker
    delivers; None: any number."""

    name: str
    broker: MemoryBroker
    room: int | None = None
    is_connected: bool = False
    is_stopped: bool = False
    sent: list[Message] = field(default_factory=list)
    use: _Use | None = None

    def start(
        self,
        *,
        subscriptions: Sequence[str],
        on_message: OnMessage,
        on_connected: OnConnected,
        will: Message | None = None,
    ) -> None:
        if self.use is not None or self.is_stopped:
            raise LinkError("this link was started before")
        self.use = _Use(tuple(subscriptions), on_message, on_connected, will)

    def publish(self, message: Message) -> bool:
        with self.broker.lock:
            if not self.is_connected or self.room == 0:
                return False
            if self.room is not None:
                self.room -= 1
            self.sent.append(message)
            self.broker.take(message)
            return True

    def stop(self, last: Message | None = None) -> None:
        with self.broker.lock:
            if last is not None and self.is_connected:
                self.sent.append(last)
                self.broker.take(last)
            self.is_connected, self.is_stopped = False, True


@dataclass(slots=True)
class MemoryBroker:
    """``retained``: by topic. ``trouble``: what becomes of each message to each receiver."""

    trouble: Callable[[Message], Fate] = lambda _: Fate()
    retained: dict[str, Message] = field(default_factory=dict)
    links: dict[str, MemoryLink] = field(default_factory=dict)
    lock: threading.RLock = field(default_factory=threading.RLock)
    _under_way: deque[tuple[str, Message]] = field(default_factory=deque)
    _late: deque[tuple[str, Message]] = field(default_factory=deque)
    _kept: dict[str, list[Message]] = field(default_factory=dict)

    def link(self, name: str) -> MemoryLink:
        """A new one; it takes the place of an older one of this name."""
        with self.lock:
            made = self.links[name] = MemoryLink(name, self)
            return made

    def connect(self, name: str) -> None:
        """The link connects, is told so, and gets what waits for it and what is retained."""
        with self.lock:
            link = self.links[name]
            if link.use is None or link.is_connected or link.is_stopped:
                raise LinkError(f"{name} cannot connect")
            link.is_connected = True
            waiting = self._kept.pop(name, [])
            kept = [one for one in self.retained.values() if _wants(link, one)]
            self._under_way.extend((name, one) for one in waiting + kept)
        link.use.on_connected()

    def cut(self, name: str) -> None:
        """The link loses its connection: its will goes out, what was under way to it waits."""
        with self.lock:
            link = self.links[name]
            if not link.is_connected or link.use is None:
                return
            link.is_connected = False
            if link.use.will is not None:
                self.take(link.use.will)

    def restart(self) -> None:
        """All connections are lost, and all that the broker knew: sessions and retained."""
        with self.lock:
            for link in self.links.values():
                link.is_connected = False
            self.retained.clear()
            self._kept.clear()
            self._under_way.clear()
            self._late.clear()

    def take(self, message: Message) -> None:
        """From a link, under the lock."""
        if message.is_retained:
            self.retained.pop(message.topic, None)
            if message.payload:
                self.retained[message.topic] = message
        live = replace(message, is_retained=False)
        for name, link in self.links.items():
            if not link.is_stopped and _wants(link, live):
                self._send(name, live)

    def deliver(self, limit: int | None = None) -> int:
        """All that is under way arrives, and all that follows from it; or so many messages.
        Returns how many arrived."""
        count = 0
        while limit is None or count < limit:
            with self.lock:
                source = self._under_way or self._late
                if not source:
                    return count
                name, message = source.popleft()
                link = self.links[name]
                if not link.is_connected or link.use is None:
                    self._kept.setdefault(name, []).append(message)
                    continue
            link.use.on_message(message)
            count += 1
        return count

    def _send(self, name: str, message: Message) -> None:
        fate = self.trouble(message)
        if fate.is_lost:
            self._kept.setdefault(name, []).append(message)
            return
        where = self._late if fate.is_late else self._under_way
        where.extend([(name, message)] * fate.copies)


def _wants(link: MemoryLink, message: Message) -> bool:
    use = link.use
    return use is not None and any(matches(one, message.topic) for one in use.subscriptions)
