"""Any client, however mad or mean, against the rest of the broker; without a network."""

from __future__ import annotations

import asyncio
import logging
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.broker import Limits, OpenRules
from edge.broker.connection import Connection, Peer
from edge.broker.exchange import Exchange
from edge.broker.packets import (
    Connect,
    Packet,
    Pingreq,
    Puback,
    Publish,
    Suback,
    Subscribe,
    Subscription,
    decode,
    encode,
)
from edge.broker.wire import Frames, Property, Reason
from tests.edge.broker.test_packets import packets

SMALL = Limits(
    max_packet_bytes=4_000, max_sessions=4, max_queued=5, max_queued_bytes=4_000, max_retained=5
)


class Transport:
    """Takes what is written; as asyncio's, closed it takes no more."""

    def __init__(self) -> None:
        self.written = bytearray()
        self._is_closing = False

    def write(self, data: bytes) -> None:
        self.written += data

    def close(self) -> None:
        self._is_closing = True

    abort = close

    def is_closing(self) -> bool:
        return self._is_closing

    def set_write_buffer_limits(self, high: int) -> None:
        """Nothing is ever full here."""

    def packets(self) -> list[Packet]:
        """Written since the last time."""
        found = [decode(*frame) for frame in Frames(1 << 20).feed(bytes(self.written))]
        self.written.clear()
        return found


def opened(exchange: Exchange, identify: Any = lambda _: Peer()) -> tuple[Connection, Transport]:
    transport = Transport()
    connection = Connection(exchange, set(), identify, lambda: 0.0)
    connection.connection_made(cast(asyncio.Transport, transport))
    return connection, transport


topics = st.sampled_from(["t", "t/u", "$SYS/x", "t/#", "+", "#", ""])
subscriptions = st.builds(
    Subscription, topics, st.integers(0, 2), st.booleans(), st.booleans(), st.integers(0, 2)
)
likely: st.SearchStrategy[Packet] = st.one_of(
    st.builds(Connect, st.sampled_from(["a", "good", ""]), st.booleans()),
    st.builds(Publish, topics, st.binary(max_size=50), st.just(1), st.booleans(), id=st.just(7)),
    st.builds(Subscribe, st.just(3), st.lists(subscriptions, min_size=1, max_size=4).map(tuple)),
    st.builds(Puback, st.integers(1, 9)),
)
pieces = st.one_of(likely.map(encode), packets.map(encode), st.binary(max_size=30))


@settings(max_examples=150, deadline=None)
@given(st.booleans(), st.lists(pieces, max_size=12), st.integers(0, 40))
def test_no_client_stops_the_others(is_connected: bool, sent: list[bytes], missing: int) -> None:
    """Packets in any order, damaged, cut off. An error in the log would be a mistake of ours."""
    exchange = Exchange(OpenRules(), SMALL)
    mistakes = logging.Handler(logging.ERROR)
    found: list[str] = []
    mistakes.emit = lambda record: found.append(record.getMessage())  # type: ignore[method-assign]
    log = logging.getLogger("edge.broker")
    log.addHandler(mistakes)
    try:
        good, heard = opened(exchange)
        good.data_received(encode(Connect("the good one")))
        good.data_received(encode(Subscribe(1, (Subscription("good/news", 1),))))
        bad, transport = opened(exchange)
        stream = (encode(Connect("bad")) if is_connected else b"") + b"".join(sent)
        bad.data_received(stream[: len(stream) - missing])
        transport.packets()  # what it was told can be read
        bad.connection_lost(None)
        exchange.tick(1e12)
        heard.packets()
        other, _ = opened(exchange)
        other.data_received(encode(Connect("other")))
        other.data_received(encode(Publish("good/news", b"!", 1, id=1)))
        assert [one.payload for one in heard.packets() if isinstance(one, Publish)] == [b"!"]
        assert set(exchange.sessions) == {"the good one", "other"}
    finally:
        log.removeHandler(mistakes)
    assert found == []


def test_a_packet_full_of_filters_is_cheap_and_answered_filter_by_filter() -> None:
    exchange = Exchange(OpenRules(), Limits(max_subscriptions=3))
    exchange.publish(None, Publish("t", b"kept", is_retained=True), 0)
    connection, transport = opened(exchange)
    connection.data_received(encode(Connect("a")))
    transport.packets()
    connection.data_received(encode(Subscribe(1, (Subscription("#"),) * 1_000)))
    answer, *messages = transport.packets()
    assert isinstance(answer, Suback)
    assert answer.reasons == (0, 0, 0) + (Reason.QUOTA,) * 997
    assert len(messages) == 1


def test_the_last_word_on_a_filter_counts() -> None:
    exchange = Exchange(OpenRules(), Limits())
    exchange.publish(None, Publish("t", b"kept", 1, True, id=1), 0)
    connection, transport = opened(exchange)
    connection.data_received(encode(Connect("a")))
    transport.packets()
    twice = (Subscription("t", 1, retain_handling=2), Subscription("t", 0, retain_handling=1))
    connection.data_received(encode(Subscribe(1, twice)))
    _, message = transport.packets()
    assert isinstance(message, Publish)
    assert message.qos == 0


def test_nobody_is_let_in_whose_certificate_could_not_be_looked_up(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def fail(_: asyncio.Transport) -> Peer:
        raise PermissionError("the list of the revoked")

    exchange = Exchange(OpenRules(), Limits())
    connection, transport = opened(exchange, fail)
    assert transport.is_closing()
    connection.data_received(encode(Connect("a")) + encode(Pingreq()))
    assert transport.written == b""
    assert not exchange.sessions
    assert "unexpected" in caplog.text


def test_an_end_may_change_how_long_the_session_lives() -> None:
    exchange = Exchange(OpenRules(), Limits())
    connection, _ = opened(exchange)
    connection.data_received(encode(Connect("a", properties={Property.SESSION_EXPIRY: 100})))
    connection.data_received(b"\xe0\x07\x00\x05\x11\x00\x00\x00\x00")
    assert not exchange.sessions


def test_a_session_without_expiry_cannot_get_one_at_its_end() -> None:
    exchange = Exchange(OpenRules(), Limits())
    connection, transport = opened(exchange)
    connection.data_received(encode(Connect("a")))
    transport.packets()
    connection.data_received(b"\xe0\x07\x00\x05\x11\x00\x00\x00\x64")
    assert bytes(transport.written[:3]) == b"\xe0\x01\x82"
    assert not exchange.sessions
