"""Outboxes with a clock that tests move, and what they hold."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from edge.clock import DeviceClock
from edge.messages.telemetry import Batch, Gap
from edge.outbox.outbox import Outbox
from edge.outbox.record import STREAMS, NewRecord, OnFull, OutboxSettings, StreamLimits


class Times:
    """A device's clocks, in ms. ``mono``: since boot; ``wall``: what it says of the day."""

    def __init__(self, mono: int = 1_000, wall: int = 1_700_000_000_000) -> None:
        self.mono = mono
        self.wall = wall

    def clock(self, boot: str = "boot-1", path: Path | None = None) -> DeviceClock:
        return DeviceClock(path, boot=boot, mono_ms=lambda: self.mono, wall_ms=lambda: self.wall)


@contextlib.contextmanager
def opened(
    path: Path, clock: DeviceClock | None = None, settings: OutboxSettings | None = None
) -> Iterator[Outbox]:
    box = Outbox(path, clock or Times().clock(), settings)
    try:
        yield box
    finally:
        box.close()


def limits(
    *, records: int = 100_000, size_bytes: int = 2**25, on_full: OnFull = "drop-oldest"
) -> OutboxSettings:
    """The same for each stream, and no waiting."""
    each = StreamLimits(size_bytes, records, on_full)
    return OutboxSettings(streams=(each,) * STREAMS, linger_s=0.0)


def record(number: int, *, stream: int = 1, ttl_s: float | None = None, pad: int = 0) -> NewRecord:
    body = json.dumps({"n": number, "pad": "x" * pad}).encode()
    return NewRecord(stream, "module", "reading", body, ttl_s)


def records(count: int, *, first: int = 1, stream: int = 1, pad: int = 0) -> list[NewRecord]:
    return [record(n, stream=stream, pad=pad) for n in range(first, first + count)]


def batches(box: Outbox, stream: int = 1, after: int = 0) -> list[Batch]:
    found = []
    while (batch := box.batch(stream, after)) is not None:
        found.append(batch)
        after = batch.last
    return found


def held(box: Outbox, stream: int = 1) -> dict[int, int]:
    """The number in the body, by the number in the stream."""
    return {
        record.seq: json.loads(bytes(record.body))["n"]
        for batch in batches(box, stream)
        for record in batch.records
    }


def gaps(box: Outbox, stream: int = 1) -> list[Gap]:
    return [gap for batch in batches(box, stream) for gap in batch.gaps]


def wait_for(condition: Callable[[], bool], timeout_s: float = 45.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.005)


def acknowledge(box: Outbox, seq: int, stream: int = 1) -> None:
    """After all was sent."""
    batches(box, stream)
    assert box.acknowledge(stream, seq)
