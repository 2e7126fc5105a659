from __future__ import annotations

import zlib
from collections.abc import Callable
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.hub.batch import MAX_PAYLOAD_BYTES, Decision, RefusedError, decide, read
from edge.messages import codec
from edge.messages.telemetry import Batch, Gap
from tests.edge.hub.fakes import batch, packed, record


def test_the_next_batch_is_stored() -> None:
    assert decide(4, batch(5, 9)) == Decision(5, 9, (), 9)


def test_what_is_there_already_is_cut() -> None:
    assert decide(7, batch(5, 9)) == Decision(8, 9, (), 9, repeated=3)
    assert decide(9, batch(5, 9)) == Decision(None, None, (), 9, repeated=5)
    assert decide(12, batch(5, 9)) == Decision(None, None, (), 12, repeated=5)


def test_behind_a_hole_nothing_is_stored() -> None:
    assert decide(3, batch(5, 9)) == Decision(None, None, (), 3, is_hole=True)


def test_behind_a_hole_that_the_device_still_has_nothing_is_lost() -> None:
    assert decide(3, batch(6, 9, base=4)) == Decision(None, None, (), 3, is_hole=True)


def test_what_the_hub_acknowledged_and_has_lost_is_a_gap() -> None:
    lost = Gap(4, 4, "hub lost")
    assert decide(3, batch(5, 9, base=5)) == Decision(5, 9, (lost,), 9)


def test_what_is_lost_is_a_gap_also_when_more_is_under_way() -> None:
    lost = Gap(4, 4, "hub lost")
    assert decide(3, batch(7, 9, base=5)) == Decision(None, None, (lost,), 4, is_hole=True)


def test_a_batch_that_begins_below_its_base_is_stored_from_there() -> None:
    lost = Gap(4, 4, "hub lost")
    assert decide(3, batch(5, 9, base=8)) == Decision(5, 9, (lost,), 9)
    assert decide(3, batch(4, 9, base=8)) == Decision(4, 9, (), 9)


def test_gaps_are_clipped_to_what_is_new() -> None:
    gaps = [Gap(5, 7, "full"), Gap(9, 9, "expired")]
    assert decide(6, batch(5, 9, gaps=gaps)) == Decision(
        8, 8, (Gap(7, 7, "full"), Gap(9, 9, "expired")), 9
    )
    assert decide(7, batch(5, 9, gaps=gaps)) == Decision(8, 8, (Gap(9, 9, "expired"),), 9)


def test_a_batch_of_gaps_only_is_stored() -> None:
    gap = Gap(5, 2**40, "budget")
    assert decide(4, batch(5, 2**40, gaps=[gap], records=[])) == Decision(None, None, (gap,), 2**40)


def test_a_whole_batch_is_read() -> None:
    sent = batch(5, 9, gaps=[Gap(6, 7, "full")])
    assert read(packed(sent)) == sent


def _raw(**changed: object) -> Callable[[], bytes]:
    fields: dict[str, object] = {
        "v": 1, "life": '"x"', "stream": 0, "base": 1, "first": 1, "last": 1,
        "records": '[[1,null,5,"s","k",{}]]', "gaps": "[]",
    }  # fmt: skip
    fields |= changed
    text = "{" + ",".join(f'"{key}":{value}' for key, value in fields.items()) + "}"
    return lambda: codec.deflate(text.encode("utf-8", "surrogateescape"))


HOSTILE: dict[str, tuple[str, Callable[[], bytes]]] = {
    "nothing": ("malformed", lambda: b""),
    "no zlib": ("malformed", lambda: b"\x00" * 100),
    "cut": ("malformed", lambda: packed(batch(1, 9))[:-3]),
    "tail": ("malformed", lambda: packed(batch(1, 9)) + b"more"),
    "bomb": ("malformed", lambda: zlib.compress(b" " * 100_000_000, 9)),
    "large": ("too large", lambda: b"x" * (MAX_PAYLOAD_BYTES + 1)),
    "NaN": ("malformed", _raw(records='[[1,null,5,"s","k",NaN]]')),
    "Infinity": ("malformed", _raw(records='[[1,null,5,"s","k",-Infinity]]')),
    "no UTF-8 in a body": ("malformed", _raw(records='[[1,null,5,"s","k","\udcff\udcfe"]]')),
    "half a character": ("malformed", _raw(records='[[1,null,5,"s","k","\\ud800"]]')),
    "deep": ("malformed", _raw(records='[[1,null,5,"s","k",' + "[" * 90_000 + "]" * 90_000 + "]]")),
    "another version": ("malformed", _raw(v=2)),
    "true for a number": ("malformed", _raw(first="true")),
    "a fraction": ("malformed", _raw(first="1.5")),
    "no such reason": ("malformed", _raw(records="[]", gaps='[[1,1,"bored"]]')),
    "life with a slash": ("life", _raw(life='"../x"')),
    "long life": ("life", _raw(life='"' + "x" * 65 + '"')),
    "no life": ("life", _raw(life='""')),
    "negative stream": ("numbers", _raw(stream=-1)),
    "giant stream": ("numbers", _raw(stream=10**30)),
    "giant last": ("numbers", _raw(last=10**40)),
    "beyond 64 bits": ("numbers", _raw(first=2**63, last=2**63)),
    "zero": ("numbers", _raw(first=0)),
    "base zero": ("numbers", _raw(base=0)),
    "first after last": ("numbers", _raw(first=2, last=1)),
    "nothing in it": ("numbers", _raw(records="[]")),
    "billions promised": ("numbers", _raw(last=2**60)),
    "record outside": ("numbers", lambda: packed(batch(1, 2, records=[record(1), record(3)]))),
    "out of order": ("numbers", lambda: packed(batch(1, 2, records=[record(2), record(1)]))),
    "twice": ("numbers", lambda: packed(batch(1, 2, records=[record(1), record(1)]))),
    "a hole": ("numbers", lambda: packed(batch(1, 3, records=[record(1), record(3)]))),
    "gap over a record": (
        "numbers",
        lambda: packed(batch(1, 2, records=[record(1), record(2)], gaps=[Gap(2, 2, "full")])),
    ),
    "gap outside": ("numbers", lambda: packed(batch(1, 2, gaps=[Gap(2, 5, "full")]))),
    "gap backwards": (
        "numbers",
        lambda: packed(batch(1, 2, records=[record(1), record(2)], gaps=[Gap(2, 1, "full")])),
    ),
    "records out of order around a gap": (
        "numbers",
        lambda: packed(batch(1, 3, records=[record(3), record(1)], gaps=[Gap(2, 2, "full")])),
    ),
    "a million gaps": (
        "numbers",
        lambda: packed(
            batch(1, 20_000, records=[], gaps=[Gap(n, n, "full") for n in range(1, 20_001)])
        ),
    ),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_payloads_are_refused_for_a_reason(name: str) -> None:
    reason, make = HOSTILE[name]
    with pytest.raises(RefusedError) as caught:
        read(make())
    assert caught.value.reason == reason
    assert "\n" not in str(caught.value)


@given(st.binary(max_size=300))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    for payload in (data, zlib.compress(data)):
        with suppress(RefusedError):
            read(payload)


class Device:
    """An outbox's numbers: what it made, what it dropped, and what it still has."""

    def __init__(self) -> None:
        self.made = 0
        self.dropped: set[int] = set()
        self.base = 1

    def send(self, first: int, last: int) -> Batch | None:
        first, last = max(first, self.base), min(last, self.made)
        if first > last:
            return None
        gaps = [Gap(n, n, "full") for n in sorted(self.dropped) if first <= n <= last]
        return batch(first, last, base=self.base, gaps=gaps)

    def hear(self, ack: int) -> None:
        self.base = max(self.base, min(ack, self.made) + 1)


class Hub:
    """What its database has: each number's fate, once."""

    def __init__(self) -> None:
        self.high = 0
        self.fate: dict[int, str] = {}

    def copy(self) -> Hub:
        other = Hub()
        other.high, other.fate = self.high, dict(self.fate)
        return other

    def hear(self, sent: Batch) -> int:
        decision = decide(self.high, sent)
        assert decision.high >= self.high
        fates: list[tuple[int, str]] = [
            (n, g.reason) for g in decision.gaps for n in range(g.first, g.last + 1)
        ]
        if decision.first is not None and decision.last is not None:
            in_range = (r.seq for r in sent.records if decision.first <= r.seq <= decision.last)
            fates += [(n, "stored") for n in in_range]
        for number, fate in fates:
            assert number not in self.fate, f"{number} twice"
            self.fate[number] = fate
        self.high = decision.high
        assert sorted(self.fate) == list(range(1, self.high + 1))
        return decision.high


STEP = st.one_of(
    st.tuples(st.just("make"), st.integers(1, 6), st.just(0)),
    st.tuples(st.just("drop"), st.integers(0, 5), st.just(0)),
    st.tuples(st.just("send"), st.integers(0, 8), st.integers(0, 8)),
    st.tuples(st.just("deliver"), st.integers(0, 20), st.booleans().map(int)),
    st.tuples(st.just("ack"), st.integers(0, 20), st.booleans().map(int)),
    st.tuples(st.just("lose"), st.integers(0, 20), st.just(0)),
    st.tuples(st.just("backup"), st.just(0), st.just(0)),
    st.tuples(st.just("restore"), st.just(0), st.just(0)),
)


@settings(max_examples=400, deadline=None)
@given(st.lists(STEP, max_size=60))
def test_any_interleaving_ends_with_each_record_once_or_in_a_gap(
    steps: list[tuple[str, int, int]],
) -> None:
    device, hub = Device(), Hub()
    backup = hub.copy()
    wire: list[Batch] = []
    acks: list[int] = []
    for what, one, other in steps:
        if what == "make":
            device.made += one
        elif what == "drop" and device.base + one <= device.made:
            device.dropped.add(device.base + one)
        elif what == "send" and (sent := device.send(device.base + one, device.base + one + other)):
            wire.append(sent)
        elif what == "deliver" and wire:
            place = one % len(wire)
            acks.append(hub.hear(wire[place]))
            if not other:  # else it comes again some day
                del wire[place]
        elif what == "ack" and acks:
            place = one % len(acks)
            device.hear(acks[place])
            if not other:
                del acks[place]
        elif what == "lose" and wire:
            del wire[one % len(wire)]
        elif what == "backup":
            backup = hub.copy()
        elif what == "restore":  # of an older database: what it acknowledged since is lost
            hub = backup.copy()
    device.made += 1
    while device.base <= device.made:  # at last the network is good
        sent = device.send(device.base, device.base + 3)
        assert sent is not None
        before = device.base
        device.hear(hub.hear(sent))
        assert device.base > before
    assert sorted(hub.fate) == list(range(1, device.made + 1))
    for number, fate in hub.fate.items():
        if fate == "hub lost":
            assert any(what == "restore" for what, _, _ in steps)
        elif number not in device.dropped:
            assert fate == "stored"
