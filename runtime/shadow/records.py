"""What the mirror's two processes tell each other: MessagePack, with its length before it."""

from __future__ import annotations

import struct

import msgspec

LENGTH = struct.Struct(">I")
NUMBER = struct.Struct(">I")
"""What the comparer answers: the number of a copy that it has done with."""
Headers = list[tuple[bytes, bytes]]


class Answer(msgspec.Struct, frozen=True, array_like=True):
    """``seconds``: from the request's last byte to the answer's."""

    status: int
    headers: Headers
    body: bytes
    seconds: float

    def header(self, name: bytes) -> bytes | None:
        """The first of that name, which is in small letters."""
        return next((value for key, value in self.headers if key.lower() == name), None)


class Exchange(msgspec.Struct, frozen=True, array_like=True, tag="exchange"):
    """A request, what the primary answered, and the shadows that get a copy."""

    number: int
    shadows: tuple[str, ...]
    target: bytes
    headers: Headers
    body: bytes
    answer: Answer


class Dropped(msgspec.Struct, frozen=True, array_like=True, tag="dropped"):
    """So many copies were not made, for that reason (counts.REASONS)."""

    shadow: str
    reason: str
    count: int


class Finish(msgspec.Struct, frozen=True, array_like=True, tag="finish"):
    """Nothing more comes: end when all is done."""


Frame = Exchange | Dropped | Finish
_encoder = msgspec.msgpack.Encoder()
_decoder: msgspec.msgpack.Decoder[Frame] = msgspec.msgpack.Decoder(Frame)


def framed(frame: Frame) -> tuple[bytes, bytes]:
    """The length, and the frame."""
    data = _encoder.encode(frame)
    return LENGTH.pack(len(data)), data


def unframed(data: bytes) -> Frame:
    """Raises msgspec.DecodeError."""
    return _decoder.decode(data)
