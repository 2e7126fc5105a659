"""Records of a device's outbox, and what the hub says once they are durable in its database.

An outbox has a ``life`` (random; a new one for a new file) and a few streams, one for each
priority, each numbered 1, 2, 3 ... without holes: a record that was dropped leaves a Gap in its
place. So the hub acknowledges by one number a stream, and knows of every loss.

    batch 5..9, hub has 4        -> stored; Ack 9
    batch 5..9, hub has 7        -> 8 and 9 stored; Ack 9
    batch 5..9, hub has 3        -> nothing stored (4 is on its way, or lost); Ack 3: send from 4
    batch 5..9, base 5, hub has 3-> 4 was acknowledged by a hub that lost it: a Gap; stored; Ack 9
"""

from __future__ import annotations

from typing import Literal

import msgspec

GapReason = Literal["full", "expired", "budget", "damaged", "hub lost"]


class Record(msgspec.Struct, frozen=True, array_like=True):
    """``seq``: its number in the stream. ``time_ms``: since 1970 as the hub's clock goes; None when
    the device never heard it, ``clock_ms`` then is the device's own. ``source``: a module's name,
    "host" or "agent". ``kind``: "metrics", "event" or what the application calls it. ``body``: any
    JSON."""

    seq: int
    time_ms: int | None
    clock_ms: int
    source: str
    kind: str
    body: msgspec.Raw


class Gap(msgspec.Struct, frozen=True, array_like=True):
    """The records ``first`` to ``last`` are not there, and never will be."""

    first: int
    last: int
    reason: GapReason


class Batch(msgspec.Struct, frozen=True):
    """Numbers ``first`` to ``last`` of a stream, each in ``records`` or in a gap. ``base``: the
    lowest number that the outbox still has: all below were acknowledged. Deflated on the wire."""

    v: int
    life: str
    stream: int
    base: int
    first: int
    last: int
    records: list[Record]
    gaps: list[Gap] = []


class StreamAck(msgspec.Struct, frozen=True, array_like=True):
    """Everything up to ``seq`` of the stream is durable."""

    stream: int
    seq: int


class Ack(msgspec.Struct, frozen=True):
    """Sent after the hub's commit, and at each birth (with all the streams that the hub knows of
    ``life``). ``time_ms``: the hub's clock. ``echo_ms``: the monotonic time that the device's last
    message had in its user property ``mono``, so that it can weigh the delay."""

    v: int
    life: str
    streams: list[StreamAck]
    time_ms: int
    echo_ms: int | None = None
