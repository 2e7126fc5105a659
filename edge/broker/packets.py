"""The packets of MQTT 5, to bytes and back. Pure.

    for first, body in frames.feed(data):
        packet = decode(first, body)
    transport.write(encode(Puback(7)))

QoS 2 and AUTH are not spoken: their packets are protocol errors.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from edge.broker import wire
from edge.broker.wire import Properties, ProtocolError, Reader, Reason

VERSION = 5


@dataclass(frozen=True, slots=True)
class Will:
    """What is published when the connection ends otherwise than by DISCONNECT."""

    topic: str
    payload: bytes
    qos: int = 0
    is_retained: bool = False
    properties: Properties = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Connect:
    """``client`` "": the broker chooses."""

    client: str
    is_clean: bool = True
    keepalive_s: int = 60
    will: Will | None = None
    user: str | None = None
    password: bytes | None = None
    properties: Properties = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Connack:
    """The answer."""

    is_session_present: bool = False
    reason: int = Reason.SUCCESS
    properties: Properties = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Publish:
    """``id`` 0: of QoS 0."""

    topic: str
    payload: bytes
    qos: int = 0
    is_retained: bool = False
    is_duplicate: bool = False
    id: int = 0
    properties: Properties = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Puback:
    """Of a PUBLISH at QoS 1."""

    id: int
    reason: int = Reason.SUCCESS
    properties: Properties = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Subscription:
    """``retain_handling``: retained messages are sent 0: always, 1: when it is new, 2: never."""

    filter: str
    qos: int = 0
    is_not_local: bool = False
    is_as_published: bool = False
    retain_handling: int = 0


@dataclass(frozen=True, slots=True)
class Subscribe:
    """At least one."""

    id: int
    subscriptions: tuple[Subscription, ...]
    properties: Properties = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Suback:
    """A granted QoS, or a reason, for each."""

    id: int
    reasons: tuple[int, ...]
    properties: Properties = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Unsubscribe:
    """At least one."""

    id: int
    filters: tuple[str, ...]
    properties: Properties = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Unsuback:
    """A reason for each."""

    id: int
    reasons: tuple[int, ...]
    properties: Properties = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Pingreq:
    """I am here."""


@dataclass(frozen=True, slots=True)
class Pingresp:
    """So am I."""


@dataclass(frozen=True, slots=True)
class Disconnect:
    """Either side's last word."""

    reason: int = Reason.SUCCESS
    properties: Properties = field(default_factory=dict)


Packet = (
    Connect | Connack | Publish | Puback | Subscribe | Suback | Unsubscribe | Unsuback
    | Pingreq | Pingresp | Disconnect
)  # fmt: skip


def decode(first: int, body: bytes) -> Packet:
    """Raises ProtocolError."""
    kind, flags = first >> 4, first & 0x0F
    reader = Reader(body)
    packet: Packet
    if kind == 3:
        packet = _publish(flags, reader)
    else:
        found = _DECODERS.get(kind)
        if found is None:
            raise ProtocolError(f"packets of type {kind} are not spoken", Reason.PROTOCOL_ERROR)
        wanted, read = found
        if flags != wanted:
            raise ProtocolError(f"a packet of type {kind} with flags {flags}")
        packet = read(reader)
    if reader.left:
        raise ProtocolError(f"a packet of type {kind} has {reader.left} bytes too many")
    return packet


def encode(packet: Packet) -> bytes:
    """Raises ValueError for what has no place in a packet."""
    first, body = _body(packet)
    return bytes([first]) + wire.varint(len(body)) + body


def _body(packet: Packet) -> tuple[int, bytes]:
    match packet:
        case Publish():
            return _encode_publish(packet)
        case Puback():
            return 0x40, _id(packet.id) + _reason(packet.reason, packet.properties)
        case Connect():
            return 0x10, _encode_connect(packet)
        case Connack():
            head = bytes([packet.is_session_present, packet.reason])
            return 0x20, head + wire.properties(packet.properties)
        case Subscribe():
            filters = b"".join(wire.text(s.filter) + _options(s) for s in packet.subscriptions)
            return 0x82, _id(packet.id) + wire.properties(packet.properties) + filters
        case Suback():
            head = _id(packet.id) + wire.properties(packet.properties)
            return 0x90, head + bytes(packet.reasons)
        case Unsubscribe():
            head = _id(packet.id) + wire.properties(packet.properties)
            return 0xA2, head + b"".join(wire.text(each) for each in packet.filters)
        case Unsuback():
            head = _id(packet.id) + wire.properties(packet.properties)
            return 0xB0, head + bytes(packet.reasons)
        case Pingreq():
            return 0xC0, b""
        case Pingresp():
            return 0xD0, b""
        case Disconnect():
            return 0xE0, _reason(packet.reason, packet.properties)


def _encode_publish(packet: Publish) -> tuple[int, bytes]:
    flags = packet.is_duplicate << 3 | packet.qos << 1 | packet.is_retained
    number = _id(packet.id) if packet.qos else b""
    head = wire.text(packet.topic) + number + wire.properties(packet.properties)
    return 0x30 | flags, head + packet.payload


def _encode_connect(packet: Connect) -> bytes:
    will = packet.will
    flags = packet.is_clean << 1
    made = wire.text(packet.client)
    if will is not None:
        flags |= 0x04 | will.qos << 3 | will.is_retained << 5
        made += wire.properties(will.properties) + wire.text(will.topic)
        made += wire.binary(will.payload)
    if packet.user is not None:
        flags |= 0x80
        made += wire.text(packet.user)
    if packet.password is not None:
        flags |= 0x40
        made += wire.binary(packet.password)
    head = wire.text("MQTT") + bytes([VERSION, flags]) + packet.keepalive_s.to_bytes(2)
    return head + wire.properties(packet.properties) + made


def _id(value: int) -> bytes:
    if not value:
        raise ValueError("a packet needs a number")
    return value.to_bytes(2)


def _reason(reason: int, properties: Properties) -> bytes:
    """The shortest form."""
    if properties:
        return bytes([reason]) + wire.properties(properties)
    return bytes([reason]) if reason else b""


def _options(one: Subscription) -> bytes:
    return bytes(
        [one.qos | one.is_not_local << 2 | one.is_as_published << 3 | one.retain_handling << 4]
    )


def _connect(reader: Reader) -> Connect:
    if reader.text() != "MQTT":
        raise ProtocolError("this is not MQTT", Reason.UNSUPPORTED_VERSION)
    if (version := reader.number(1)) != VERSION:
        raise ProtocolError(
            f"this broker speaks MQTT 5, not level {version}", Reason.UNSUPPORTED_VERSION
        )
    flags, keepalive_s = reader.number(1), reader.number(2)
    has_will, will_qos = bool(flags & 0x04), flags >> 3 & 3
    if flags & 0x01 or will_qos == 3 or (not has_will and flags & 0x38):
        raise ProtocolError("CONNECT has flags that cannot be")
    properties = reader.properties(wire.OF_CONNECT)
    client = reader.text()
    will = None
    if has_will:
        of_will = reader.properties(wire.OF_WILL)
        topic, payload = reader.text(), reader.binary()
        will = Will(topic, payload, will_qos, bool(flags & 0x20), of_will)
    return Connect(
        client,
        bool(flags & 0x02),
        keepalive_s,
        will,
        reader.text() if flags & 0x80 else None,
        reader.binary() if flags & 0x40 else None,
        properties,
    )


def _connack(reader: Reader) -> Connack:
    flags, reason = reader.number(1), reader.number(1)
    if flags > 1:
        raise ProtocolError("CONNACK has flags that cannot be")
    return Connack(bool(flags), reason, reader.properties(wire.OF_CONNACK))


def _publish(flags: int, reader: Reader) -> Publish:
    qos, is_duplicate = flags >> 1 & 3, bool(flags & 8)
    if qos == 3 or (is_duplicate and not qos):
        raise ProtocolError("PUBLISH has flags that cannot be")
    topic = reader.text()
    id = _packet_id(reader) if qos else 0
    properties = reader.properties(wire.OF_PUBLISH)
    return Publish(topic, reader.rest(), qos, bool(flags & 1), is_duplicate, id, properties)


def _packet_id(reader: Reader) -> int:
    found = reader.number(2)
    if not found:
        raise ProtocolError("a packet has the number 0", Reason.PROTOCOL_ERROR)
    return found


def _puback(reader: Reader) -> Puback:
    id = _packet_id(reader)
    reason = reader.number(1) if reader.left else 0
    return Puback(id, reason, reader.properties(wire.OF_ACK) if reader.left else {})


def _subscribe(reader: Reader) -> Subscribe:
    id, properties = _packet_id(reader), reader.properties(wire.OF_SUBSCRIBE)
    found: list[Subscription] = []
    while reader.left or not found:
        name, options = reader.text(), reader.number(1)
        qos, handling = options & 3, options >> 4 & 3
        if qos == 3 or handling == 3 or options & 0xC0:
            raise ProtocolError("SUBSCRIBE has options that cannot be")
        found.append(Subscription(name, qos, bool(options & 4), bool(options & 8), handling))
    return Subscribe(id, tuple(found), properties)


def _suback(reader: Reader) -> Suback:
    id, properties = _packet_id(reader), reader.properties(wire.OF_ACK)
    return Suback(id, tuple(reader.rest()), properties)


def _unsubscribe(reader: Reader) -> Unsubscribe:
    id, properties = _packet_id(reader), reader.properties(wire.OF_UNSUBSCRIBE)
    found = [reader.text()]
    while reader.left:
        found.append(reader.text())
    return Unsubscribe(id, tuple(found), properties)


def _unsuback(reader: Reader) -> Unsuback:
    id, properties = _packet_id(reader), reader.properties(wire.OF_ACK)
    return Unsuback(id, tuple(reader.rest()), properties)


def _disconnect(reader: Reader) -> Disconnect:
    reason = reader.number(1) if reader.left else 0
    return Disconnect(reason, reader.properties(wire.OF_DISCONNECT) if reader.left else {})


_DECODERS: dict[int, tuple[int, Callable[[Reader], Packet]]] = {
    1: (0, _connect),
    2: (0, _connack),
    4: (0, _puback),
    8: (2, _subscribe),
    9: (0, _suback),
    10: (2, _unsubscribe),
    11: (0, _unsuback),
    12: (0, lambda _: Pingreq()),
    13: (0, lambda _: Pingresp()),
    14: (0, _disconnect),
}
"""Type: the flags that it must have, and what reads its body."""
