"""The bytes of MQTT 5 (OASIS, chapters 1.5 and 2): numbers, texts, properties, frames.

Pure. What is malformed raises ProtocolError with the reason code that the sender is told.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from enum import IntEnum

MAX_VARINT = 268_435_455
Pairs = tuple[tuple[str, str], ...]
Value = int | str | bytes | Pairs


class Reason(IntEnum):
    """Those that a broker of this size says."""

    SUCCESS = 0x00
    WITH_WILL = 0x04
    NO_SUBSCRIPTION = 0x11
    MALFORMED = 0x81
    PROTOCOL_ERROR = 0x82
    UNSUPPORTED_VERSION = 0x84
    NOT_AUTHORIZED = 0x87
    BUSY = 0x89
    SHUTTING_DOWN = 0x8B
    SILENT = 0x8D
    TAKEN_OVER = 0x8E
    BAD_FILTER = 0x8F
    BAD_TOPIC = 0x90
    BAD_ALIAS = 0x94
    TOO_LARGE = 0x95
    QUOTA = 0x97
    NO_SUCH_QOS = 0x9B
    NO_SHARED = 0x9E
    NO_IDENTIFIERS = 0xA1


class ProtocolError(Exception):
    """``reason``: what the sender is told before the connection ends."""

    def __init__(self, message: str, reason: Reason = Reason.MALFORMED) -> None:
        super().__init__(message)
        self.reason = reason


class Property(IntEnum):
    """Chapter 2.2.2.2."""

    PAYLOAD_FORMAT = 0x01
    MESSAGE_EXPIRY = 0x02
    CONTENT_TYPE = 0x03
    RESPONSE_TOPIC = 0x08
    CORRELATION_DATA = 0x09
    SUBSCRIPTION_ID = 0x0B
    SESSION_EXPIRY = 0x11
    ASSIGNED_CLIENT = 0x12
    SERVER_KEEPALIVE = 0x13
    AUTH_METHOD = 0x15
    AUTH_DATA = 0x16
    REQUEST_PROBLEM = 0x17
    WILL_DELAY = 0x18
    REQUEST_RESPONSE = 0x19
    RESPONSE_INFORMATION = 0x1A
    SERVER_REFERENCE = 0x1C
    REASON_TEXT = 0x1F
    RECEIVE_MAXIMUM = 0x21
    ALIAS_MAXIMUM = 0x22
    ALIAS = 0x23
    MAX_QOS = 0x24
    RETAIN_AVAILABLE = 0x25
    USER = 0x26
    MAX_PACKET = 0x27
    WILDCARD_AVAILABLE = 0x28
    SUBSCRIPTION_ID_AVAILABLE = 0x29
    SHARED_AVAILABLE = 0x2A


Properties = Mapping[Property, Value]
P = Property
_BYTE = (
    P.PAYLOAD_FORMAT, P.REQUEST_PROBLEM, P.REQUEST_RESPONSE, P.MAX_QOS, P.RETAIN_AVAILABLE,
    P.WILDCARD_AVAILABLE, P.SUBSCRIPTION_ID_AVAILABLE, P.SHARED_AVAILABLE,
)  # fmt: skip
_TWO = (P.SERVER_KEEPALIVE, P.RECEIVE_MAXIMUM, P.ALIAS_MAXIMUM, P.ALIAS)
_FOUR = (P.MESSAGE_EXPIRY, P.SESSION_EXPIRY, P.WILL_DELAY, P.MAX_PACKET)
_BINARY = (P.CORRELATION_DATA, P.AUTH_DATA)
MESSAGE = frozenset(
    {P.PAYLOAD_FORMAT, P.MESSAGE_EXPIRY, P.CONTENT_TYPE, P.RESPONSE_TOPIC, P.CORRELATION_DATA,
     P.USER}
)  # fmt: skip
"""What belongs to a message, and goes with it to whoever gets it."""
OF_PUBLISH = MESSAGE | {P.ALIAS, P.SUBSCRIPTION_ID}
OF_WILL = MESSAGE | {P.WILL_DELAY}
OF_CONNECT = frozenset(
    {P.SESSION_EXPIRY, P.AUTH_METHOD, P.AUTH_DATA, P.REQUEST_PROBLEM, P.REQUEST_RESPONSE,
     P.RECEIVE_MAXIMUM, P.ALIAS_MAXIMUM, P.USER, P.MAX_PACKET}
)  # fmt: skip
OF_CONNACK = frozenset(
    {P.SESSION_EXPIRY, P.RECEIVE_MAXIMUM, P.MAX_QOS, P.RETAIN_AVAILABLE, P.MAX_PACKET,
     P.ASSIGNED_CLIENT, P.ALIAS_MAXIMUM, P.REASON_TEXT, P.USER, P.WILDCARD_AVAILABLE,
     P.SUBSCRIPTION_ID_AVAILABLE, P.SHARED_AVAILABLE, P.SERVER_KEEPALIVE, P.RESPONSE_INFORMATION,
     P.SERVER_REFERENCE, P.AUTH_METHOD, P.AUTH_DATA}
)  # fmt: skip
OF_ACK = frozenset({P.REASON_TEXT, P.USER})
OF_SUBSCRIBE = frozenset({P.SUBSCRIPTION_ID, P.USER})
OF_UNSUBSCRIBE = frozenset({P.USER})
OF_DISCONNECT = frozenset({P.SESSION_EXPIRY, P.REASON_TEXT, P.USER, P.SERVER_REFERENCE})
_NOT_ZERO = (P.RECEIVE_MAXIMUM, P.MAX_PACKET, P.SUBSCRIPTION_ID)


class Reader:
    """Takes one field after another. Raises ProtocolError where there is none."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    @property
    def left(self) -> int:
        """Bytes that were not taken."""
        return len(self._data) - self._at

    def take(self, size: int) -> bytes:
        """So many bytes."""
        if size > self.left:
            raise ProtocolError("a packet ends within a field")
        self._at += size
        return self._data[self._at - size : self._at]

    def rest(self) -> bytes:
        """All others."""
        return self.take(self.left)

    def number(self, size: int) -> int:
        """Of 1, 2 or 4 bytes."""
        return int.from_bytes(self.take(size))

    def varint(self) -> int:
        """1 to 4 bytes, the fewest that do."""
        value = 0
        for place in range(4):
            byte = self.number(1)
            value |= (byte & 0x7F) << (7 * place)
            if not byte & 0x80:
                if place and not byte:
                    raise ProtocolError("a number has more bytes than it needs")
                return value
        raise ProtocolError("a number has more than four bytes")

    def binary(self) -> bytes:
        """With its length before it."""
        return self.take(self.number(2))

    def text(self) -> str:
        """UTF-8 without U+0000."""
        try:
            text = self.binary().decode()
        except UnicodeDecodeError as error:
            raise ProtocolError("a text is not UTF-8") from error
        if "\0" in text:
            raise ProtocolError("a text has U+0000")
        return text

    def properties(self, allowed: frozenset[Property]) -> dict[Property, Value]:
        """Each at most once, but user properties."""
        inner = Reader(self.take(self.varint()))
        found: dict[Property, Value] = {}
        user: list[tuple[str, str]] = []
        while inner.left:
            number = inner.varint()
            if number not in allowed:
                raise ProtocolError(f"a property {number} that does not belong there")
            key = Property(number)
            if key is Property.USER:
                user.append((inner.text(), inner.text()))
            elif key in found:
                raise ProtocolError(f"property {number} is there twice", Reason.PROTOCOL_ERROR)
            else:
                found[key] = inner._value(key)
        if user:
            found[Property.USER] = tuple(user)
        return found

    def _value(self, key: Property) -> Value:
        if key in _BYTE:
            value = self.number(1)
            if value > 1:
                raise ProtocolError(f"property {key} is neither 0 nor 1", Reason.PROTOCOL_ERROR)
            return value
        if key in _TWO or key in _FOUR or key is Property.SUBSCRIPTION_ID:
            size = 2 if key in _TWO else 4
            value = self.varint() if key is Property.SUBSCRIPTION_ID else self.number(size)
            if not value and key in _NOT_ZERO:
                raise ProtocolError(f"property {key} is 0", Reason.PROTOCOL_ERROR)
            return value
        return self.binary() if key in _BINARY else self.text()


def varint(value: int) -> bytes:
    """1 to 4 bytes."""
    if not 0 <= value <= MAX_VARINT:
        raise ValueError(f"{value} has no place in four bytes")
    made = bytearray()
    while True:
        value, low = divmod(value, 128)
        made.append(low | (0x80 if value else 0))
        if not value:
            return bytes(made)


def binary(data: bytes) -> bytes:
    """With its length before it. Raises ValueError beyond 65,535."""
    if len(data) > 0xFFFF:
        raise ValueError(f"{len(data)} bytes have no place in one field")
    return len(data).to_bytes(2) + data


def text(value: str) -> bytes:
    """As UTF-8."""
    return binary(value.encode())


def properties(found: Properties) -> bytes:
    """With their length before them."""
    made = bytearray()
    for key, value in found.items():
        if isinstance(value, tuple):
            for pair in value:
                made += varint(key) + text(pair[0]) + text(pair[1])
        elif isinstance(value, int):
            size = 1 if key in _BYTE else 2 if key in _TWO else 4
            whole = varint(value) if key is P.SUBSCRIPTION_ID else value.to_bytes(size)
            made += varint(key) + whole
        else:
            made += varint(key) + (binary(value) if isinstance(value, bytes) else text(value))
    return varint(len(made)) + bytes(made)


class Frames:
    """Cuts a stream into packets: (first byte, body)."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._buffer = bytearray()

    def feed(self, data: bytes) -> Iterator[tuple[int, bytes]]:
        """What is complete by now. Raises ProtocolError for a packet of more than ``max_bytes``,
        before it is there."""
        buffer = self._buffer
        buffer += data
        at = 0
        try:
            while True:
                head = _length(buffer, at + 1)
                if head is None:
                    return
                start, size = head
                if start - at + size > self._max_bytes:
                    raise ProtocolError(f"a packet of {size} bytes", Reason.TOO_LARGE)
                if len(buffer) < start + size:
                    return
                first, body = buffer[at], bytes(buffer[start : start + size])
                at = start + size
                yield first, body
        finally:
            del buffer[:at]


def _length(buffer: bytearray, at: int) -> tuple[int, int] | None:
    """(where the body begins, its size), None when that is not there yet."""
    value = 0
    for place in range(4):
        if at + place >= len(buffer):
            return None
        byte = buffer[at + place]
        value |= (byte & 0x7F) << (7 * place)
        if not byte & 0x80:
            return at + place + 1, value
    raise ProtocolError("a packet's length has more than four bytes")
