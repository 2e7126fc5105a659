"""Counting in one process and adding up many."""

from __future__ import annotations

import math
import time
from typing import get_args

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scoring.metrics import Ledger, combine, families, merge
from scoring.metrics.snapshot import LAYOUT, Totals, encode

Ran = tuple[int, list[float], float]
seconds = st.floats(min_value=0, max_value=100).map(lambda s: round(s, 3))
runs = st.lists(
    st.tuples(st.integers(1, 5000), st.lists(seconds, min_size=1, max_size=3), seconds), max_size=4
)


def ledger_of(batches: list[Ran]) -> Ledger:
    ledger = Ledger(wall=lambda: 5.0)
    for rows, queue_s, compute_s in batches:
        ledger.ran("digits:1", rows, queue_s, compute_s)
    return ledger


@settings(max_examples=25)
@given(st.lists(runs, min_size=2, max_size=4))
def test_processes_add_up_to_what_one_process_would_have_counted(parts: list[list[Ran]]) -> None:
    apart = combine(ledger_of(part).snapshot() for part in parts)
    at_once = combine([ledger_of([run for part in parts for run in part]).snapshot()])
    assert apart.counters.keys() == at_once.counters.keys()
    for name, found in apart.counters.items():
        assert found == pytest.approx(at_once.counters[name])
    for name, histograms in apart.histograms.items():
        for labels, buckets in histograms.items():
            other = at_once.histogram(name, *labels)
            assert buckets.counts == other.counts
            assert buckets.total == pytest.approx(other.total)


@settings(max_examples=25)
@given(st.lists(runs, min_size=2, max_size=4))
def test_folding_the_dead_changes_no_counter(parts: list[list[Ran]]) -> None:
    snapshots = [ledger_of(part).snapshot() for part in parts]
    past = b""
    for snapshot in snapshots[:-1]:
        past = merge([past, snapshot])
    folded, apart = combine([past, snapshots[-1]]), combine(snapshots)
    assert folded.histograms.keys() == apart.histograms.keys()
    assert folded.counter("inferry_answered_total") == apart.counter("inferry_answered_total")
    rows = [t.histogram("inferry_batch_rows", "digits", "1").counts for t in (folded, apart)]
    assert rows[0] == rows[1]


@given(st.lists(st.floats(min_value=0, max_value=1e5), min_size=1))
def test_a_value_is_counted_in_the_first_bucket_that_holds_it(values: list[float]) -> None:
    ledger = Ledger()
    for value in values:
        ledger.answered("/score", 200, value)
    found = combine([ledger.snapshot()]).histogram("inferry_request_seconds", "/score")
    for index, bound in enumerate(families.SECONDS):
        assert sum(found.counts[: index + 1]) == sum(value <= bound for value in values)


@given(st.lists(st.integers(0, 50_000), min_size=1))
def test_the_rows_of_batches_are_right_though_sizes_are_folded(sizes: list[int]) -> None:
    ledger = Ledger()
    for rows in sizes:
        ledger.ran("m", rows, [0.0], 0.0)
    found = combine([ledger.snapshot()]).histogram("inferry_batch_rows", "m", "")
    assert found.total == sum(sizes)
    for index, bound in enumerate(families.SIZES):
        assert sum(found.counts[: index + 1]) == sum(rows <= bound for rows in sizes)


def test_the_number_of_batch_sizes_is_bounded() -> None:
    ledger = Ledger()
    for rows in range(1, 20_000):
        ledger.ran("m", rows, [0.0], 0.0)
    totals = combine([ledger.snapshot()])
    assert len(totals.counters["inferry_batches_total"]) < 140


def test_a_gauge_is_of_one_snapshot_and_of_the_living() -> None:
    ledger = Ledger(wall=lambda: 5.0)
    ledger.gauge("inferry_waiting", "m:2", 3)
    ledger.gauge("inferry_batching", "m:2", 1, reason="it pays")
    ledger.gauge("inferry_connections", "", 7)
    ledger.ran("m:2", 1, [0.0], 0.0)
    first = ledger.snapshot()
    gauges = combine([first, first]).gauges
    assert gauges["inferry_waiting"] == {("m", "2"): [3, 3]}
    assert gauges["inferry_batching"] == {("m", "2", "it pays"): [1, 1]}
    assert gauges["inferry_connections"] == {(): [7, 7]}
    assert "inferry_waiting" not in combine([ledger.snapshot()]).gauges
    dead = combine([merge([first])]).gauges
    assert dead.keys() == {"inferry_last_answer_timestamp_seconds", "inferry_metrics_unreadable"}


def test_what_cannot_be_read_is_left_out_and_counted() -> None:
    ledger = Ledger()
    ledger.restarted("worker")
    good = ledger.snapshot()
    other_layout = encode(Totals(layout=LAYOUT + 1))
    other_name = encode(Totals(counters={"other": {(): 1.0}}))
    of_a_part = msgspec.msgpack.encode(
        [LAYOUT, {}, {"inferry_queue_seconds": {("m", ""): ([1], 1)}}]
    )
    bad = [good[:-1], b"\xc1", other_layout, other_name, of_a_part]
    totals = combine([good, b"", *bad, good])
    assert totals.gauges["inferry_metrics_unreadable"] == {(): [len(bad)]}
    assert totals.counter("inferry_restarts_total", "worker") == 2
    assert not totals.histograms


def test_failed_requests_of_a_batch_are_not_answered() -> None:
    ledger = Ledger(wall=lambda: 5.0)
    ledger.ran("m", 3, [0.1, 0.1, 0.1], 0.5, failed=3)  # runs again, item by item
    for _ in range(2):
        ledger.ran("m", 1, [0.1], 0.5)
    ledger.ran("m", 1, [0.1], 0.5, failed=1)
    ledger.failed("m", "died", 2.0)
    totals = combine([ledger.snapshot()])
    assert totals.counter("inferry_answered_total", "m") == 2
    assert totals.counter("inferry_failed_total", "m", "", "died") == 1
    assert totals.histogram("inferry_compute_seconds", "m", "").count == 4


def test_a_nan_difference_does_not_spoil_the_sum() -> None:
    ledger = Ledger()
    ledger.shadowed("m", "different", max_difference=math.nan, disagreeing_rows=2)
    ledger.shadowed("m", "close", max_difference=0.5, duration_ratio=1.2)
    totals = combine([ledger.snapshot()])
    found = totals.histogram("inferry_shadow_difference", "m", "")
    assert (found.total, found.counts[-1], found.count) == (0.5, 1, 2)
    assert totals.counter("inferry_shadow_disagreeing_rows_total", "m") == 2


def test_a_registered_model_shows_zeros_for_every_reason_and_failure() -> None:
    ledger = Ledger()
    ledger.register("m:1")
    counters = combine([ledger.snapshot()]).counters
    rejected = {labels[2] for labels in counters["inferry_rejected_total"]}
    assert rejected == set(get_args(families.Reason))
    assert {k[2] for k in counters["inferry_failed_total"]} == set(get_args(families.Failure))
    assert set(counters["inferry_rejected_total"].values()) == {0}


def test_every_gauge_that_can_be_set_is_a_family() -> None:
    for name in get_args(families.GaugeName):
        assert families.FAMILIES[name].kind == "gauge"


def test_counting_is_cheap() -> None:
    """About 0.3 us on a quiet core; the bound only catches a change of kind."""
    ledger = Ledger()
    started = time.thread_time()
    for _ in range(10_000):
        ledger.answered("/score", 200, 0.001)
    assert (time.thread_time() - started) / 10_000 < 2e-5
