"""Rows and gaps to one Batch, within the bounds of a message."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import msgspec

from edge.clock import Stamp
from edge.messages import codec
from edge.messages.telemetry import Batch, Gap, Record
from edge.outbox.record import MAX_BATCH_BYTES, MAX_BATCH_RECORDS
from edge.outbox.table import Row


@dataclass(frozen=True, slots=True)
class Packet:
    """A batch, and as it goes over the wire."""

    batch: Batch
    payload: bytes


def contents(rows: Sequence[Row], gaps: Sequence[Gap], after: int, until: int) -> list[Row | Gap]:
    """What stands for the numbers after ``after`` up to ``until``, in order and without a hole, as
    far as is known from ``rows`` and ``gaps`` (each complete up to its last). A number that neither
    has is damage, and becomes a gap, so that it stops nothing."""
    entries: list[Row | Gap] = []
    number, i, j = after + 1, 0, 0
    while number <= until:
        if i < len(rows) and rows[i].seq == number:
            entries.append(rows[i])
            number, i = number + 1, i + 1
        elif j < len(gaps) and gaps[j].first <= number:
            if gaps[j].last >= number:
                last = min(gaps[j].last, until)
                entries.append(Gap(number, last, gaps[j].reason))
                number = last + 1
            j += 1
        else:
            nexts = [rows[i].seq] if i < len(rows) else []
            nexts += [gaps[j].first] if j < len(gaps) else []
            last = min([*nexts, until + 1]) - 1
            entries.append(Gap(number, last, "damaged"))
            number = last + 1
    return entries


def pack(
    entries: Sequence[Row | Gap],
    *,
    life: str,
    stream: int,
    base: int,
    boots: Mapping[int, str],
    hub_time_ms: Callable[[Stamp], int | None],
    max_bytes: int = MAX_BATCH_BYTES,
) -> Packet | None:
    """As many entries, from the first on, as fit; at least one. None when there are none."""
    entries = entries[:MAX_BATCH_RECORDS]
    while entries:
        batch = _batch(entries, life, stream, base, boots, hub_time_ms)
        payload = codec.deflate(codec.encode(batch))
        if len(payload) <= max_bytes or len(entries) == 1:
            return Packet(batch, payload)
        fitting = int(len(entries) * max_bytes / len(payload) * 0.9)
        entries = entries[: max(1, min(fitting, len(entries) - 1))]
    return None


def _batch(
    entries: Sequence[Row | Gap],
    life: str,
    stream: int,
    base: int,
    boots: Mapping[int, str],
    hub_time_ms: Callable[[Stamp], int | None],
) -> Batch:
    records = [
        Record(
            row.seq,
            hub_time_ms(Stamp(boots.get(row.boot, ""), row.mono_ms)),
            row.clock_ms,
            row.source,
            row.kind,
            msgspec.Raw(row.body),
        )
        for row in entries
        if isinstance(row, Row)
    ]
    gaps = [entry for entry in entries if isinstance(entry, Gap)]
    first, last = entries[0], entries[-1]
    return Batch(
        codec.VERSION,
        life,
        stream,
        base,
        first.seq if isinstance(first, Row) else first.first,
        last.seq if isinstance(last, Row) else last.last,
        records,
        gaps,
    )
