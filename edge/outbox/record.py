"""What an outbox takes, and how much of it it keeps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import msgspec

STREAMS = 4
"""One for each priority; 0 goes first."""
MAX_BODY_BYTES = 64 * 1024
"""Of one record, so that it fits into a batch."""
MAX_DEPTH = 64
"""Of the lists and objects in a body; who reads one may have little stack."""
MAX_BATCH_BYTES = 96 * 1024
"""On the wire, deflated."""
MAX_BATCH_RECORDS = 500
ROW_BYTES = 64
"""What a record takes besides its words; for the caps."""

OnFull = Literal["drop-oldest", "reject"]


@dataclass(frozen=True, slots=True)
class NewRecord:
    """What is to be sent. ``stream``: its priority, 0 (first) to 3. ``source``: a module's name,
    "host" or "agent". ``body``: valid JSON. ``ttl_s``: it is worthless after this; None: never."""

    stream: int
    source: str
    kind: str
    body: bytes
    ttl_s: float | None = None

    @property
    def size_bytes(self) -> int:
        """What it counts for in a cap."""
        return len(self.body) + len(self.source) + len(self.kind) + ROW_BYTES


def check_body(body: bytes) -> None:
    """Raises ValueError for what is no JSON in UTF-8: the hub would refuse the whole batch."""
    try:
        found = msgspec.json.decode(body)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
        raise ValueError(str(error)) from None
    if body.count(b"[") + body.count(b"{") > MAX_DEPTH and _depth(found) > MAX_DEPTH:
        raise ValueError(f"lists and objects within each other, more than {MAX_DEPTH} deep")


def _depth(value: Any) -> int:
    depth, level = 0, [value]
    while level := [each for each in level if isinstance(each, (dict, list))]:
        depth += 1
        level = [
            inner for each in level for inner in (each.values() if type(each) is dict else each)
        ]
    return depth


@dataclass(frozen=True, slots=True)
class StreamLimits:
    """When a stream is full, and what happens then: the oldest records make room, or new ones are
    refused. A record that was dropped is counted in a Gap."""

    max_bytes: int = 32 * 1024 * 1024
    max_records: int = 100_000
    on_full: OnFull = "drop-oldest"


@dataclass(frozen=True, slots=True)
class OutboxSettings:
    """``linger_s``: how long records for which nobody waits may wait for others before they are
    written together. ``max_queue_bytes``: in memory, not written yet. ``expire_s``: how often
    expired records are looked for. ``reserve_bytes``: of the disk, kept so that a full one can be
    emptied; more than the journal takes."""

    streams: tuple[StreamLimits, ...] = (StreamLimits(),) * STREAMS
    linger_s: float = 0.1
    max_commit_records: int = 2000
    max_queue_bytes: int = 4 * 1024 * 1024
    append_timeout_s: float = 30.0
    expire_s: float = 10.0
    reserve_bytes: int = 8 * 1024 * 1024
    synchronous: Literal["FULL", "NORMAL"] = "FULL"
