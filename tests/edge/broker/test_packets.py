"""The codec: against itself, against paho's, and against bytes that are no packets."""

from __future__ import annotations

import socket
from contextlib import suppress
from typing import Any

import paho.mqtt.client as paho
import pytest
from hypothesis import given
from hypothesis import strategies as st
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes

from edge.broker import wire
from edge.broker.packets import (
    Connack,
    Connect,
    Disconnect,
    Packet,
    Pingreq,
    Pingresp,
    Puback,
    Publish,
    Suback,
    Subscribe,
    Subscription,
    Unsuback,
    Unsubscribe,
    Will,
    decode,
    encode,
)
from edge.broker.wire import Frames, Property, ProtocolError, Value
from tests.edge.broker.clients import properties

BYTES = {p for p in Property if p in wire._BYTE}
texts = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=20)
ids = st.integers(1, 0xFFFF)
blobs = st.binary(max_size=100)


def value_of(key: Property) -> st.SearchStrategy[Value]:
    """What this property can be."""
    if key in wire._BYTE:
        return st.integers(0, 1)
    if key in wire._TWO:
        return st.integers(1, 0xFFFF)
    if key in wire._FOUR:
        return st.integers(1, 0xFFFFFFFF)
    if key is Property.SUBSCRIPTION_ID:
        return st.integers(1, wire.MAX_VARINT)
    if key is Property.USER:
        return st.lists(st.tuples(texts, texts), min_size=1, max_size=3).map(tuple)
    return blobs if key in wire._BINARY else texts


def some(allowed: frozenset[Property]) -> st.SearchStrategy[dict[Property, Value]]:
    """Any of these properties."""
    return st.fixed_dictionaries({}, optional={key: value_of(key) for key in sorted(allowed)})


def _publish(qos: int) -> st.SearchStrategy[Publish]:
    return st.builds(
        Publish,
        texts,
        blobs,
        st.just(qos),
        st.booleans(),
        st.booleans() if qos else st.just(False),
        ids if qos else st.just(0),
        some(wire.OF_PUBLISH),
    )


wills = st.builds(Will, texts, blobs, st.integers(0, 2), st.booleans(), some(wire.OF_WILL))
subscriptions = st.builds(
    Subscription, texts, st.integers(0, 2), st.booleans(), st.booleans(), st.integers(0, 2)
)
reasons = st.lists(st.integers(0, 255), max_size=5).map(tuple)
packets: st.SearchStrategy[Packet] = st.one_of(
    st.builds(
        Connect,
        texts,
        st.booleans(),
        st.integers(0, 0xFFFF),
        st.none() | wills,
        st.none() | texts,
        st.none() | blobs,
        some(wire.OF_CONNECT),
    ),
    st.builds(Connack, st.booleans(), st.integers(0, 255), some(wire.OF_CONNACK)),
    st.integers(0, 2).flatmap(_publish),
    st.builds(Puback, ids, st.integers(0, 255), some(wire.OF_ACK)),
    st.builds(
        Subscribe,
        ids,
        st.lists(subscriptions, min_size=1, max_size=3).map(tuple),
        some(wire.OF_SUBSCRIBE),
    ),
    st.builds(Suback, ids, reasons, some(wire.OF_ACK)),
    st.builds(
        Unsubscribe,
        ids,
        st.lists(texts, min_size=1, max_size=3).map(tuple),
        some(wire.OF_UNSUBSCRIBE),
    ),
    st.builds(Unsuback, ids, reasons, some(wire.OF_ACK)),
    st.just(Pingreq()),
    st.just(Pingresp()),
    st.builds(Disconnect, st.integers(0, 255), some(wire.OF_DISCONNECT)),
)


def read(data: bytes) -> list[Packet]:
    """All that is in there."""
    return [decode(*frame) for frame in Frames(1 << 20).feed(data)]


@given(packets)
def test_what_is_written_is_read(packet: Packet) -> None:
    assert read(encode(packet)) == [packet]


@given(st.lists(packets, max_size=4), st.data())
def test_a_stream_may_be_cut_anywhere(sent: list[Packet], data: st.DataObject) -> None:
    stream = b"".join(map(encode, sent))
    frames, found, at = Frames(1 << 20), [], 0
    while at < len(stream):
        size = data.draw(st.integers(1, len(stream) - at))
        found += [decode(*frame) for frame in frames.feed(stream[at : at + size])]
        at += size
    assert found == sent


@given(st.binary(max_size=60))
def test_any_bytes_are_packets_or_refused(data: bytes) -> None:
    with suppress(ProtocolError):
        read(data)


@given(packets, st.data())
def test_a_damaged_packet_is_a_packet_or_refused(packet: Packet, data: st.DataObject) -> None:
    damaged = bytearray(encode(packet))
    place = data.draw(st.integers(0, len(damaged) - 1))
    damaged[place] = data.draw(st.integers(0, 255))
    with suppress(ProtocolError):
        read(bytes(damaged))


@given(st.integers(0, 15), st.binary(max_size=60))
def test_any_body_is_a_packet_or_refused(kind: int, body: bytes) -> None:
    for flags in (0, 2):
        with suppress(ProtocolError):
            decode(kind << 4 | flags, body)


@pytest.mark.parametrize(
    "data",
    [
        b"\x32\x05\x00\x01t\x00\x00",  # number 0
        b"\x36\x06\x00\x01t\x00\x01\x00",  # QoS 3
        b"\x82\x03\x00\x01\x00",  # nothing to subscribe to
        b"\x80\x07\x00\x01\x00\x00\x01t\x00",  # SUBSCRIBE without its flags
        b"\x30\x08\x00\x01t\x04\x01\x00\x01\x00",  # a property twice
        b"\x30\x06\x00\x01t\x02\x01\x02",  # neither 0 nor 1
        b"\x30\x05\x00\x02\xff\xfe\x00",  # no UTF-8
        b"\x30\x05\x00\x02t\x00\x00",  # U+0000
        b"\xc0\x01\x00",  # PINGREQ with a body
        b"\x50\x02\x00\x01",  # PUBREC
    ],
)
def test_what_the_standard_forbids_is_refused(data: bytes) -> None:
    with pytest.raises(ProtocolError):
        read(data)


def test_a_packet_that_is_too_large_is_refused_before_it_is_there() -> None:
    with pytest.raises(ProtocolError) as refused:
        list(Frames(1000).feed(b"\x30\xff\xff\x03"))
    assert refused.value.reason == 0x95


def spoken_by_paho(act: Any) -> list[Packet]:
    """What paho sends when ``act`` is done with a client whose socket is ours."""
    here, there = socket.socketpair()
    with here, there:
        client = paho.Client(CallbackAPIVersion.VERSION2, "a", protocol=MQTTProtocolVersion.MQTTv5)
        client._sock = here
        act(client)
        client.loop_write()
        client._sock = None
        there.settimeout(5)
        return read(there.recv(65536))


def test_paho_s_packets_are_read() -> None:
    sent = properties(
        PacketTypes.PUBLISH, MessageExpiryInterval=7, UserProperty=[("a", "b"), ("c", "d")]
    )
    found = spoken_by_paho(lambda client: client.publish("t/ü", b"\0x", 1, True, sent))
    expected: dict[Property, Value] = {
        Property.MESSAGE_EXPIRY: 7,
        Property.USER: (("a", "b"), ("c", "d")),
    }
    assert found == [Publish("t/ü", b"\0x", 1, True, False, 1, expected)]


def test_paho_reads_ours() -> None:
    packet = Publish("t/ü", b"\0x", 0, properties={Property.USER: (("a", "b"),)})
    here, there = socket.socketpair()
    heard: list[Any] = []
    with here, there:
        client = paho.Client(CallbackAPIVersion.VERSION2, "a", protocol=MQTTProtocolVersion.MQTTv5)
        client.on_message = lambda _c, _u, message: heard.append(message)
        here.setblocking(False)
        client._sock = here
        there.sendall(encode(packet))
        client.loop_read()
        client._sock = None
    assert [(m.topic, m.payload) for m in heard] == [("t/ü", b"\0x")]
    assert heard[0].properties.UserProperty == [("a", "b")]
