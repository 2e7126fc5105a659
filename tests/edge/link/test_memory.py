"""The links in memory keep the promises of the port, and break those that a test wants broken."""

from __future__ import annotations

import pytest

from edge.errors import LinkError
from edge.link.memory import Fate, MemoryBroker, MemoryLink
from edge.link.port import Link, Message


class User:
    """A link in use."""

    def __init__(
        self, broker: MemoryBroker, name: str, *filters: str, will: Message | None = None
    ) -> None:
        self.heard: list[Message] = []
        self.connections = 0
        self.link: MemoryLink = broker.link(name)
        as_port: Link = self.link
        as_port.start(
            subscriptions=filters,
            on_message=self.heard.append,
            on_connected=self._on_connected,
            will=will,
        )

    def _on_connected(self) -> None:
        self.connections += 1

    @property
    def payloads(self) -> list[bytes]:
        return [one.payload for one in self.heard]


@pytest.fixture
def broker() -> MemoryBroker:
    return MemoryBroker()


def both(broker: MemoryBroker) -> tuple[User, User]:
    a, b = User(broker, "a", "t/+", will=Message("s", b"gone", True)), User(broker, "b", "s")
    broker.connect("a")
    broker.connect("b")
    return a, b


def test_nothing_is_taken_without_a_connection(broker: MemoryBroker) -> None:
    a = User(broker, "a", "t")
    assert not a.link.publish(Message("t", b"x"))
    broker.connect("a")
    assert a.link.publish(Message("t", b"x"))
    assert broker.deliver() == 1
    assert (a.payloads, a.connections) == ([b"x"], 1)


def test_retained_messages_come_at_each_connection(broker: MemoryBroker) -> None:
    a, b = both(broker)
    b.link.publish(Message("t/1", b"old", True))
    b.link.publish(Message("t/1", b"new", True))
    b.link.publish(Message("t/2", b"x", True))
    b.link.publish(Message("t/2", b"", True))
    broker.deliver()
    a.heard.clear()
    broker.cut("a")
    broker.connect("a")
    broker.deliver()
    assert [(one.payload, one.is_retained) for one in a.heard] == [(b"new", True)]


def test_what_comes_while_one_is_away_waits(broker: MemoryBroker) -> None:
    a, b = both(broker)
    broker.cut("a")
    b.link.publish(Message("t/1", b"1"))
    b.link.publish(Message("t/1", b"2"))
    broker.deliver()
    assert a.heard == []
    broker.connect("a")
    broker.deliver()
    assert a.payloads == [b"1", b"2"]


def test_a_will_goes_out_after_a_cut_and_not_after_an_end(broker: MemoryBroker) -> None:
    a, b = both(broker)
    broker.cut("a")
    broker.deliver()
    assert b.payloads == [b"gone"]
    broker.connect("a")
    a.link.stop(Message("s", b"left", True))
    broker.deliver()
    assert b.payloads == [b"gone", b"left"]
    assert not a.link.publish(Message("s", b"x"))


def test_a_restart_of_the_broker_forgets_everything(broker: MemoryBroker) -> None:
    a, b = both(broker)
    b.link.publish(Message("t/1", b"1", True))
    broker.restart()
    assert not a.link.is_connected
    broker.connect("a")
    assert broker.deliver() == 0


def test_messages_are_lost_repeated_and_late_as_wanted(broker: MemoryBroker) -> None:
    fates = {b"lost": Fate(is_lost=True), b"twice": Fate(copies=2), b"late": Fate(is_late=True)}
    a, b = both(broker)
    broker.trouble = lambda message: fates.get(message.payload, Fate())
    for payload in (b"late", b"1", b"lost", b"twice", b"2"):
        b.link.publish(Message("t/1", payload))
    broker.deliver()
    assert a.payloads == [b"1", b"twice", b"twice", b"2", b"late"]
    broker.cut("a")
    broker.connect("a")
    broker.deliver()
    assert a.payloads[5:] == [b"lost"]


def test_a_link_that_has_no_room_takes_nothing(broker: MemoryBroker) -> None:
    a, _ = both(broker)
    a.link.room = 1
    assert a.link.publish(Message("x", b""))
    assert not a.link.publish(Message("x", b""))


def test_a_link_is_started_once(broker: MemoryBroker) -> None:
    a = User(broker, "a")
    with pytest.raises(LinkError):
        a.link.start(subscriptions=(), on_message=print, on_connected=print)
