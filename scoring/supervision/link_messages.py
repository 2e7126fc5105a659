"""What a supervisor and a server process say to each other, and its bytes (msgpack).

One message is one packet of a SOCK_SEQPACKET socket; ``Take`` carries file descriptors beside it.
"""

from __future__ import annotations

import msgspec

MAX_PAYLOAD_BYTES = 64 << 10
"""The longest payload of a Tell, Ask or Answer."""
MAX_MESSAGE_BYTES = MAX_PAYLOAD_BYTES + 4096
MAX_FDS = 64
"""Connections that one Take passes at most (the kernel's limit is 253)."""


class _Message(msgspec.Struct, array_like=True, frozen=True):
    """A msgpack array that begins with the message's number."""


# Either way


class Tell(_Message, frozen=True, tag=1):
    """From a child: to all children of its generation. From the parent: what a child told."""

    payload: bytes


class Ask(_Message, frozen=True, tag=2):
    """From a child: to all children of its generation, which answer with the same ``id``."""

    id: int
    payload: bytes


class Answer(_Message, frozen=True, tag=3):
    """An answer to Ask ``id``; to the asker they come one by one and end with Answered."""

    id: int
    payload: bytes


# Child to parent


class Ready(_Message, frozen=True, tag=10):
    """The child can answer requests."""


class Failed(_Message, frozen=True, tag=11):
    """The child's model does not load; it leaves once it is told how. ``message`` is for people,
    ``exit_code`` what the server ends with if it was to be the first."""

    message: str
    exit_code: int


class Closed(_Message, frozen=True, tag=12):
    """The child closed this connection for good."""

    slot: int


class Released(_Message, frozen=True, tag=13):
    """The child closed its copy of this idle connection, which goes on elsewhere."""

    slot: int


# Parent to child


class Take(_Message, frozen=True, tag=20):
    """Connections for the child: slots, and for each the number of the listener it came from."""

    slots: list[int]
    listeners: list[int]


class Drain(_Message, frozen=True, tag=21):
    """Finish what is under way and leave within ``seconds``."""

    seconds: float


class Retire(_Message, frozen=True, tag=22):
    """Release every connection as soon as it is idle, then leave, within ``seconds``."""

    seconds: float


class GiveBack(_Message, frozen=True, tag=23):
    """Release ``count`` connections that are idle or as they become so; replaces an earlier one."""

    count: int


class Answered(_Message, frozen=True, tag=24):
    """No more answers come to Ask ``id``; ``missing`` processes gave none."""

    id: int
    missing: int


ToParent = Ready | Failed | Closed | Released | Tell | Ask | Answer
ToChild = Take | Drain | Retire | GiveBack | Tell | Ask | Answer | Answered

encode = msgspec.msgpack.Encoder().encode
decode_to_parent = msgspec.msgpack.Decoder(ToParent).decode
decode_to_child = msgspec.msgpack.Decoder(ToChild).decode
