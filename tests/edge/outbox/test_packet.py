"""Any records and gaps become batches without a hole, which the hub takes."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from edge.hub.batch import decide, read
from edge.messages.telemetry import Gap
from edge.outbox.packet import contents, pack
from edge.outbox.record import MAX_BATCH_RECORDS
from edge.outbox.table import Row, runs

SPANS = st.lists(st.tuples(st.sampled_from("rrrg-"), st.integers(1, 6)), max_size=60)


def _row(seq: int) -> Row:
    return Row(seq, 1, seq * 10, 5, None, "m", "k", b'{"n":%d}' % seq)


def _made(spans: list[tuple[str, int]]) -> tuple[list[Row], list[Gap], int]:
    """Rows and gaps, and the last number. "-": neither has it, which is damage."""
    rows: list[Row] = []
    gaps: list[Gap] = []
    number = 1
    for kind, length in spans:
        if kind == "g":
            gaps.append(Gap(number, number + length - 1, "full"))
        elif kind == "r":
            rows += [_row(n) for n in range(number, number + length)]
        number += length
    return rows, gaps, number - 1


def _numbers(entry: Row | Gap) -> range:
    return range(entry.seq, entry.seq + 1) if isinstance(entry, Row) else range(
        entry.first, entry.last + 1
    )  # fmt: skip


@given(SPANS, st.integers(0, 40), st.integers(0, 40))
def test_each_number_once_and_in_order(spans: list[tuple[str, int]], after: int, less: int) -> None:
    rows, gaps, last = _made(spans)
    until = max(0, last - less)
    entries = contents(
        [row for row in rows if row.seq > after], [gap for gap in gaps if gap.last > after],
        after, until,
    )  # fmt: skip
    assert [n for entry in entries for n in _numbers(entry)] == list(range(after + 1, until + 1))
    stored = {row.seq for row in rows if after < row.seq <= until}
    assert {entry.seq for entry in entries if isinstance(entry, Row)} == stored
    damaged = {n for e in entries if isinstance(e, Gap) and e.reason == "damaged"
               for n in _numbers(e)}  # fmt: skip
    known = {row.seq for row in rows} | {n for gap in gaps for n in _numbers(gap)}
    assert damaged == set(range(after + 1, until + 1)) - known


@settings(max_examples=60)
@given(SPANS, st.integers(1, 3000))
def test_batch_after_batch_the_hub_has_all(spans: list[tuple[str, int]], max_bytes: int) -> None:
    rows, gaps, last = _made(spans)
    high = 0
    while high < last:
        packet = pack(
            contents([r for r in rows if r.seq > high], [g for g in gaps if g.last > high],
                     high, last),
            life="a", stream=1, base=high + 1, boots={1: "b"}, hub_time_ms=lambda stamp: None,
            max_bytes=max_bytes,
        )  # fmt: skip
        assert packet is not None
        assert (
            len(packet.payload) <= max_bytes or len(packet.batch.records + packet.batch.gaps) == 1
        )
        assert len(packet.batch.records) <= MAX_BATCH_RECORDS
        decision = decide(high, read(packet.payload))
        assert decision.high == packet.batch.last > high
        high = decision.high


def test_nothing_makes_no_packet() -> None:
    assert pack([], life="a", stream=0, base=1, boots={}, hub_time_ms=lambda stamp: None) is None


@given(st.sets(st.integers(0, 100)))
def test_runs_are_what_they_are_of(numbers: set[int]) -> None:
    found = runs(sorted(numbers))
    assert [n for first, last in found for n in range(first, last + 1)] == sorted(numbers)
    assert all(b[0] > a[1] + 1 for a, b in pairwise(found))
