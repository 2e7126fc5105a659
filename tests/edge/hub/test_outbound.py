from __future__ import annotations

import threading

import pytest

from edge import topics
from edge.hub import command_queue
from edge.hub.counters import Counters
from edge.hub.database import Database
from edge.hub.outbound import AT_ONCE, Outbound
from edge.messages import codec
from edge.messages.commands import Command
from edge.messages.desired import Desired
from edge.messages.telemetry import Ack, StreamAck
from tests.edge.hub.fakes import NOW_MS, FakeLink


@pytest.fixture
def link() -> FakeLink:
    link = FakeLink()
    link.is_connected = True
    return link


@pytest.fixture
def outbound(database: Database, link: FakeLink) -> Outbound:
    return Outbound(
        database,
        link,
        lambda _, device: Desired(codec.VERSION, device, 1),
        Counters(),
        lambda: NOW_MS,
    )


def acks(link: FakeLink) -> list[list[StreamAck]]:
    return [codec.decode(m.payload, Ack).streams for m in link.of("a", topics.ACK)]


def test_acknowledgements_of_an_outbox_are_one_with_the_highest_numbers(
    outbound: Outbound, link: FakeLink
) -> None:
    outbound.ack("a", "x", {0: 5, 1: 2}, 70)
    outbound.ack("a", "x", {0: 3, 1: 4}, None)
    outbound.ack("a", "y", {0: 1}, 80)
    assert outbound.send()
    assert acks(link) == [[StreamAck(0, 5), StreamAck(1, 4)], [StreamAck(0, 1)]]
    echoes = [codec.decode(m.payload, Ack).echo_ms for m in link.of("a", topics.ACK)]
    assert echoes == [70, 80]
    assert outbound.send()
    assert len(link.sent) == 2, "each is sent once"


def test_what_the_link_does_not_take_stays_due(
    outbound: Outbound, link: FakeLink, database: Database
) -> None:
    ids = [command_queue.send(database, "a", "ping", now_ms=NOW_MS) for _ in range(AT_ONCE + 2)]
    outbound.ack("a", "x", {0: 5})
    outbound.publish_commands(ids)
    outbound.publish_desired(["a", "b"])
    outbound.clear(["gone"])
    for _ in range(2_000):
        link.room = 1
        if outbound.send():
            break
    assert acks(link) == [[StreamAck(0, 5)]]
    sent = [codec.decode(m.payload, Command).id for m in link.of("a", topics.COMMAND)]
    assert sent == ids
    assert [len(link.of(device, topics.DESIRED)) for device in ("a", "b", "gone")] == [1, 1, 1]


def test_what_was_sent_is_sent_again_only_when_it_is_asked_for_or_forgotten(
    outbound: Outbound, link: FakeLink, database: Database
) -> None:
    ids = [command_queue.send(database, "a", "ping", now_ms=NOW_MS)]

    def counts() -> tuple[int, int]:
        outbound.publish_commands(ids)
        outbound.publish_desired(["a"])
        assert outbound.send()
        return len(link.of("a", topics.COMMAND)), len(link.of("a", topics.DESIRED))

    assert counts() == (1, 1)
    assert counts() == (1, 1)
    outbound.forget()
    assert counts() == (2, 2)
    outbound.publish_commands(ids, again=True)
    assert counts() == (3, 2)


def test_commands_that_have_ended_are_not_sent(
    outbound: Outbound, link: FakeLink, database: Database
) -> None:
    late = command_queue.send(database, "a", "ping", now_ms=NOW_MS - 60_000, expires_s=60)
    outbound.publish_commands([late, "unknown"])
    assert outbound.send()
    assert link.sent == []


def test_it_ends_when_it_is_stopped(outbound: Outbound, link: FakeLink) -> None:
    link.room = 0
    outbound.ack("a", "x", {0: 5})
    thread = threading.Thread(target=outbound.run)
    thread.start()
    outbound.stop()
    thread.join(60)
    assert not thread.is_alive()
