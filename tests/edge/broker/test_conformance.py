"""What edge/link and the hub need of a broker, of the embedded one and of mosquitto alike."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from typing import Any, Protocol

import pytest

from edge.broker.packets import Connack, Connect, Disconnect, Pingreq, Pingresp, Publish, Will
from edge.broker.wire import Property
from tests.edge.broker.clients import Client, Place, raw


class Clients(Protocol):
    """Makes clients that are gone after the test."""

    def __call__(self, name: str, **options: Any) -> Client: ...


@pytest.fixture
def client(place: Place) -> Iterator[Clients]:
    """Makes clients."""
    with ExitStack() as made:

        def make(name: str, **options: Any) -> Client:
            found = Client(place, name, **options)
            made.callback(found.leave)
            return found

        yield make


def test_a_message_reaches_who_asked_for_it_and_nobody_else(client: Clients) -> None:
    a, b, c = client("a"), client("b"), client("c")
    assert a.subscribe("edge/+/up/#") == [1]
    assert b.subscribe("edge/x/down/ack") == [1]
    c.publish("edge/x/up/reply", b"1")
    c.publish("edge/x/down/ack", b"2")
    c.publish("edge/y/up", b"3")
    assert a.texts(2) == ["1", "3"]
    assert b.texts(1) == ["2"]
    assert a.is_quiet()
    assert b.is_quiet()


@pytest.mark.parametrize(("sent", "asked", "got"), [(0, 1, 0), (1, 0, 0), (1, 1, 1)])
def test_the_lower_qos_of_both_sides_counts(
    client: Clients, sent: int, asked: int, got: int
) -> None:
    a = client("a")
    a.subscribe("t", qos=asked)
    a.publish("t", b"x", qos=sent)
    assert a.next().qos == got


def test_two_filters_that_match_bring_one_message(client: Clients) -> None:
    a, b = client("a"), client("b")
    a.subscribe("t/#", "t/+", "t/x")
    b.publish("t/x", b"1")
    b.publish("t/x", b"2")
    heard = a.texts(2)
    # Both are allowed (chapter 3.3.4): once, or once for each filter.
    assert heard in (["1", "2"], ["1", "1"])


def test_messages_keep_their_order(client: Clients) -> None:
    a, b = client("a"), client("b")
    a.subscribe("t")
    for number in range(200):
        b.publish("t", str(number).encode())
    assert a.texts(200) == [str(number) for number in range(200)]


def test_retained_messages_are_kept_replaced_and_taken_away(client: Clients) -> None:
    a = client("a")
    a.publish("t/1", b"old", is_retained=True)
    a.publish("t/1", b"new", is_retained=True)
    a.publish("t/2", b"gone", is_retained=True)
    a.publish("t/2", b"", is_retained=True)
    b = client("b")
    b.subscribe("t/+")
    message = b.next()
    assert (message.topic, message.payload, message.retain) == ("t/1", b"new", True)
    assert b.is_quiet()
    a.publish("t/1", b"newer", is_retained=True)
    message = b.next()
    assert (message.payload, message.retain) == (b"newer", False)


def test_retained_messages_come_again_with_a_subscription_made_again(client: Clients) -> None:
    a = client("a")
    a.publish("t", b"kept", is_retained=True)
    for _ in range(2):
        a.subscribe("t")
        assert a.texts(1) == ["kept"]


def test_an_unsubscribed_topic_is_quiet(client: Clients) -> None:
    a = client("a")
    a.subscribe("t")
    a.unsubscribe("t")
    a.publish("t", b"x")
    assert a.is_quiet()


def test_user_properties_and_the_like_pass_through(client: Clients) -> None:
    a = client("a")
    a.subscribe("t")
    a.publish(
        "t",
        b"x",
        UserProperty=[("trace", "1"), ("trace", "2"), ("ü", "")],
        ContentType="application/json",
        ResponseTopic="r",
        CorrelationData=b"\x00\xff",
        PayloadFormatIndicator=0,
    )
    found: Any = a.next().properties
    assert found.UserProperty == [("trace", "1"), ("trace", "2"), ("ü", "")]
    assert (found.ContentType, found.ResponseTopic) == ("application/json", "r")
    assert found.CorrelationData == b"\x00\xff"


def test_a_session_keeps_what_comes_while_its_client_is_away(client: Clients) -> None:
    a = client("a", is_clean=False, session_s=100)
    assert not a.had_session
    a.subscribe("t")
    a.leave()
    b = client("b")
    for number in range(30):
        b.publish("t", str(number).encode())
    a = client("a", is_clean=False, session_s=100)
    assert a.had_session
    assert a.texts(30) == [str(number) for number in range(30)]
    a.publish("t", b"still subscribed")
    assert a.texts(1) == ["still subscribed"]


def test_a_clean_start_forgets_the_session(client: Clients) -> None:
    a = client("a", is_clean=False, session_s=100)
    a.subscribe("t")
    a.leave()
    client("b").publish("t", b"x")
    a = client("a", is_clean=True)
    assert not a.had_session
    assert a.is_quiet()


def test_a_session_without_expiry_ends_with_the_connection(client: Clients) -> None:
    a = client("a", is_clean=False, session_s=0)
    a.subscribe("t")
    a.leave()
    assert not client("a", is_clean=False).had_session


def test_what_was_not_acknowledged_comes_again_as_a_duplicate(
    place: Place, client: Clients
) -> None:
    a = client("a", is_clean=False, session_s=100)
    a.subscribe("t")
    a.leave()
    client("b").publish("t", b"x")
    connect = Connect("a", False, properties={Property.SESSION_EXPIRY: 100})
    with raw(place, connect) as first:
        assert isinstance(first.next(), Connack)
        message = first.next()
        assert isinstance(message, Publish)
        assert not message.is_duplicate
    with raw(place, connect) as second:
        assert isinstance(second.next(), Connack)
        again = second.next()
        assert isinstance(again, Publish)
        assert (again.payload, again.id, again.is_duplicate) == (b"x", message.id, True)


def test_not_more_is_under_way_than_the_client_takes(place: Place, client: Clients) -> None:
    a = client("a", is_clean=False, session_s=100)
    a.subscribe("t")
    a.leave()
    b = client("b")
    for number in range(5):
        b.publish("t", str(number).encode())
    limits = {Property.SESSION_EXPIRY: 100, Property.RECEIVE_MAXIMUM: 2}
    with raw(place, Connect("a", False, properties=limits)) as slow:
        assert isinstance(slow.next(), Connack)
        assert [_payload(slow.next()) for _ in range(2)] == [b"0", b"1"]
        slow.send(Pingreq())
        assert slow.next() == Pingresp()


def test_a_will_is_published_when_the_connection_is_lost(client: Clients) -> None:
    a, b = client("a"), client("b", will=("edge/b/status", b"gone", 1))
    a.subscribe("edge/+/status")
    b.die()
    assert a.texts(1) == ["gone"]
    late = client("c")
    late.subscribe("edge/b/status")
    message = late.next()
    assert (message.payload, message.retain) == (b"gone", True)


def test_no_will_after_an_end_in_good_order(client: Clients) -> None:
    a, b = client("a"), client("b", will=("w", b"gone", 1))
    a.subscribe("w")
    b.leave()
    assert a.is_quiet()


def test_no_will_when_the_client_comes_back_in_time(client: Clients) -> None:
    a = client("a")
    a.subscribe("w")
    will = ("w", b"gone", 1)
    b = client("b", will=will, will_delay_s=100, session_s=200, is_clean=False)
    b.die()
    client("b", session_s=200, is_clean=False)
    assert a.is_quiet()


def test_a_delayed_will_comes_later(client: Clients) -> None:
    a = client("a")
    a.subscribe("w")
    will = ("w", b"gone", 1)
    b = client("b", will=will, will_delay_s=1, session_s=200, is_clean=False)
    b.die()
    assert a.is_quiet()
    assert a.texts(1) == ["gone"]


def test_a_silent_client_is_given_up(place: Place, client: Clients) -> None:
    a = client("a")
    a.subscribe("w")
    with raw(place, Connect("b", keepalive_s=1, will=Will("w", b"gone", 1))) as silent:
        assert isinstance(silent.next(), Connack)
        assert all(isinstance(one, Disconnect) for one in silent.rest())
    assert a.texts(1) == ["gone"]


def test_the_newer_connection_of_a_name_takes_over(client: Clients) -> None:
    first = client("a", is_clean=False, session_s=100)
    first.subscribe("t")
    second = client("a", is_clean=False, session_s=100)
    # 0x80: mosquitto 2.0 closes without a word.
    assert first.wait_for_end() in (0x8E, 0x80)
    assert second.had_session
    second.publish("t", b"x")
    assert second.texts(1) == ["x"]


def test_a_message_expires_for_who_comes_late(place: Place, client: Clients) -> None:
    a = client("a", is_clean=False, session_s=100)
    a.subscribe("t")
    a.leave()
    b = client("b")
    b.subscribe("w")
    b.publish("t", b"short", MessageExpiryInterval=1)
    b.publish("t", b"long", MessageExpiryInterval=1000)
    gone = client("c", will=("w", b"two seconds", 1), will_delay_s=2, session_s=100)
    gone.die()
    b.texts(1)
    message: Any = client("a", is_clean=False, session_s=100).next()
    assert message.payload == b"long"
    assert 900 < message.properties.MessageExpiryInterval < 1000


def test_no_local_keeps_ones_own_messages_away(client: Clients) -> None:
    a, b = client("a"), client("b")
    a.subscribe("t", noLocal=True)
    a.publish("t", b"own")
    b.publish("t", b"another's")
    assert a.texts(1) == ["another's"]


def test_a_client_without_a_name_is_given_one(place: Place) -> None:
    with raw(place, Connect("")) as nameless:
        answer = nameless.next()
        assert isinstance(answer, Connack)
        assert answer.properties[Property.ASSIGNED_CLIENT]


def test_large_messages_pass(client: Clients) -> None:
    a = client("a")
    a.subscribe("t")
    large = bytes(range(256)) * 3_000
    a.publish("t", large)
    assert a.next().payload == large


def _payload(packet: object) -> bytes:
    assert isinstance(packet, Publish)
    return packet.payload


HOSTILE: dict[str, Callable[[], bytes]] = {
    "no MQTT": lambda: b"GET / HTTP/1.1\r\n\r\n",
    "zeros": lambda: bytes(64),
    "a length without end": lambda: b"\x10\xff\xff\xff\xff\xff",
    "a body that is too short": lambda: b"\x10\x02\x00\x04",
    "an older MQTT": lambda: b"\x10\x0d\x00\x06MQIsdp\x03\x02\x00\x3c\x00\x01",
    "a packet before CONNECT": lambda: b"\x30\x04\x00\x01tx",
    "a reserved type": lambda: b"\x00\x00",
}


@pytest.mark.parametrize("bytes_of", list(HOSTILE.values()), ids=list(HOSTILE))
def test_hostile_bytes_end_their_connection_only(
    place: Place, client: Clients, bytes_of: Callable[[], bytes]
) -> None:
    a = client("a")
    a.subscribe("t")
    with raw(place, bytes_of()) as hostile:
        with suppress(OSError):  # it may be gone already
            hostile.socket.shutdown(socket.SHUT_WR)
        hostile.rest()
    a.publish("t", b"on it goes")
    assert a.texts(1) == ["on it goes"]
