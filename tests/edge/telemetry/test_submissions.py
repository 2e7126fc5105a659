"""What applications post, and what is refused before the hub would."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.hub.batch import read as hub_reads
from edge.outbox.packet import pack
from edge.outbox.record import MAX_BODY_BYTES, NewRecord
from edge.outbox.table import Row
from edge.telemetry.submissions import MAX_RECORDS, Refused, read

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(blacklist_categories=["Cs"])),
    lambda inner: st.lists(inner, max_size=4)
    | st.dictionaries(st.text(st.characters(blacklist_categories=["Cs"])), inner, max_size=4),
    max_leaves=20,
)  # fmt: skip


def _hub_takes(records: list[NewRecord]) -> None:
    rows = [
        Row(n, 1, 0, 0, None, each.source, each.kind, each.body)
        for n, each in enumerate(records, 1)
    ]
    packet = pack(rows, life="a", stream=1, base=1, boots={}, hub_time_ms=lambda stamp: None)
    assert packet is not None
    assert len(hub_reads(packet.payload).records) == len(packet.batch.records)


def test_one_record() -> None:
    assert read(b'{"kind": "x", "body": {"t": 1}}', "", "m") == [
        NewRecord(1, "m", "x", b'{"t": 1}', None)
    ]


def test_several_as_a_list_or_by_line() -> None:
    items = [{"kind": "a", "priority": 0, "ttl_s": 5}, {"kind": "b", "body": "é\n"}]
    as_list = read(json.dumps(items).encode(), "application/json", "m")
    lines = "\n\n".join(json.dumps(item) for item in items).encode()
    assert read(lines, "application/x-ndjson; charset=utf-8", "m") == as_list
    assert [(each.stream, each.ttl_s) for each in as_list] == [(0, 5), (1, None)]
    assert as_list[0].body == b"null"
    _hub_takes(as_list)


def test_a_line_separator_within_text_ends_no_line() -> None:
    (found,) = read('{"kind": "a", "body": "\u2028\x85"}'.encode(), "application/x-ndjson", "m")
    assert json.loads(found.body) == "\u2028\x85"


@given(JSON)
def test_any_json_is_taken_and_the_hub_takes_it_too(body: object) -> None:
    data = json.dumps({"kind": "k", "body": body}).encode()
    records = read(data, "", "m")
    assert json.loads(records[0].body) == body
    _hub_takes(records)


@given(st.binary(max_size=200), st.sampled_from(["", "application/x-ndjson"]))
def test_any_bytes_are_refused_or_fit_for_the_hub(data: bytes, content_type: str) -> None:
    try:
        records = read(data, content_type, "m")
    except Refused:
        return
    _hub_takes(records)


@given(st.binary(max_size=40))
def test_any_body_is_refused_or_fit_for_the_hub(body: bytes) -> None:
    try:
        records = read(b'{"kind":"k","body":' + body + b"}", "", "m")
    except Refused:
        return
    _hub_takes(records)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[]",
        b"1",
        b"null",
        b"{",
        b"{}",
        b'{"kind": "x", "more": 1}',
        b'{"kind": ""}',
        b'{"kind": "a b"}',
        b'{"kind": "' + b"k" * 65 + b'"}',
        b'{"kind": "\\ud800"}',
        b'{"kind": "x", "priority": 4}',
        b'{"kind": "x", "priority": -1}',
        b'{"kind": "x", "priority": 1e400}',
        b'{"kind": "x", "ttl_s": 0}',
        b'{"kind": "x", "ttl_s": -1}',
        b'{"kind": "x", "ttl_s": 1e12}',
        b'{"kind": "x", "body": NaN}',
        b'{"kind": "x", "body": -Infinity}',
        b'{"kind": "x", "body": "\\ud800"}',
        b'{"kind": "x", "body": "\xff"}',
        b'{"kind": "x", "body": "\xed\xa0\x80"}',
        b'{"kind": "x", "body": ' + b"[" * 65 + b"]" * 65 + b"}",
        b'{"kind": "x", "body": ' + b"[" * 50_000 + b"]" * 50_000 + b"}",
        b'{"kind": "x", "body": ' + b'{"a":' * 5_000 + b"1" + b"}" * 5_000 + b"}",
        b"[" * 100_000,
        b'{"kind": "x", "body": "' + b"x" * MAX_BODY_BYTES + b'"}',
        b"[" + b",".join([b'{"kind":"x"}'] * (MAX_RECORDS + 1)) + b"]",
        '{"kind": "x"}'.encode("utf-16"),
    ],
)
def test_what_is_no_telemetry_is_refused_in_one_short_line(data: bytes) -> None:
    with pytest.raises(Refused) as caught:
        read(data, "", "m")
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 300


def test_all_or_none() -> None:
    with pytest.raises(Refused, match="kind"):
        read(b'[{"kind": "good"}, {"kind": "not good"}]', "", "m")
