"""The page of /metrics, read back by the client library's parsers."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterable

import pytest
from prometheus_client import Metric
from prometheus_client.openmetrics.parser import (
    text_string_to_metric_families as parse_openmetrics,
)
from prometheus_client.parser import text_string_to_metric_families as parse_plain

from scoring.metrics import Ledger, combine, families, merge
from scoring.metrics.exposition import render
from scoring.metrics.statistics import Duration, statistics

OPENMETRICS = "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5"
Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


def busy() -> Ledger:
    """A ledger that has counted each kind of thing."""
    ledger = Ledger(wall=lambda: 1234.5)
    ledger.answered("/score", 200, 0.002)
    ledger.ran("digits:3", 3, [0.25, 0.5], 0.125)
    ledger.ran("digits:3", 300, [0.25], 0.5)
    ledger.decoded("digits:3", 0.03125)
    ledger.encoded("digits:3", 0.0625)
    ledger.rejected("digits:3", "full", 0.5)
    ledger.rejected("digits:3", "bad-input")
    ledger.rejected("digits:3", "abandoned", 1.0)
    ledger.failed("digits:3", "died", 2.0)
    ledger.restarted("process")
    ledger.shadowed("digits:3", "equal", max_difference=0.0, duration_ratio=0.9)
    ledger.captured(written=4, dropped=1, failed=0)
    ledger.gauge("inferry_in_flight", "digits:3", 2)
    ledger.gauge("inferry_waiting", "digits:3", 2)
    ledger.gauge("inferry_expected_drain_seconds", "digits:3", 0.5)
    ledger.gauge("inferry_batch_cost_a_seconds", "digits:3", 0.001)
    return ledger


def samples(metrics: Iterable[Metric]) -> Samples:
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for metric in metrics
        for sample in metric.samples
    }


def key(name: str, **labels: str) -> tuple[str, frozenset[tuple[str, str]]]:
    return name, frozenset(labels.items())


def of_digits(name: str, **labels: str) -> tuple[str, frozenset[tuple[str, str]]]:
    return key(name, model="digits", version="3", **labels)


def test_the_page_adds_up_processes_and_merges_their_gauges() -> None:
    other = Ledger()
    other.gauge("inferry_in_flight", "digits:3", 5)
    other.gauge("inferry_expected_drain_seconds", "digits:3", 0.25)
    other.gauge("inferry_batch_cost_a_seconds", "digits:3", 0.003)
    snapshots = [merge([busy().snapshot()]), busy().snapshot(), other.snapshot()]
    page = render(snapshots)
    found = samples(parse_plain(page.body.decode()))
    assert page.content_type == "text/plain; version=0.0.4; charset=utf-8"
    assert found[key("inferry_requests_total", route="/score", code="200")] == 2
    assert found[key("inferry_request_seconds_bucket", route="/score", le="0.0025")] == 2
    assert found[key("inferry_request_seconds_bucket", route="/score", le="0.001")] == 0
    assert found[key("inferry_request_seconds_sum", route="/score")] == 0.004
    assert found[of_digits("inferry_batch_rows_sum")] == 606
    assert found[of_digits("inferry_in_flight")] == 7
    assert found[of_digits("inferry_expected_drain_seconds")] == 0.5
    assert found[of_digits("inferry_batch_cost_a_seconds")] == 0.002
    assert found[of_digits("inferry_last_answer_timestamp_seconds")] == 1234.5
    assert found[key("inferry_captured_total", outcome="written")] == 8
    assert not [name for name, _ in found if name.startswith("nv_")]
    shown = {name for name, family in families.FAMILIES.items() if not family.is_shown}
    assert shown.isdisjoint(name for name, _ in found)


def test_both_formats_say_the_same() -> None:
    snapshots = [busy().snapshot()]
    page = render(snapshots, triton_names=True, accept=OPENMETRICS)
    assert page.content_type.startswith("application/openmetrics-text; version=1.0.0")
    plain = render(snapshots, triton_names=True)
    found = parse_openmetrics(page.body.decode())  # type: ignore[no-untyped-call]
    assert samples(found) == samples(parse_plain(plain.body.decode()))


@pytest.mark.parametrize(
    "accept",
    [None, "", "*/*", "text/html", "application/openmetrics-text;version=x", ";;,=", "text/plain"],
)
def test_an_odd_accept_gets_the_page(accept: str | None) -> None:
    assert b"inferry_requests_total" in render([busy().snapshot()], accept=accept).body


def test_strange_names_are_escaped() -> None:
    ledger = Ledger()
    name = 'a"b\\c\nd'
    ledger.answered(name, 200, 0.1)
    found = samples(parse_plain(render([ledger.snapshot()]).body.decode()))
    assert found[key("inferry_requests_total", route=name, code="200")] == 1


def test_nothing_counted_is_a_page_too() -> None:
    page = render([], triton_names=True)
    found = samples(parse_plain(page.body.decode()))
    assert found == {key("inferry_metrics_unreadable"): 0}


def test_triton_names_have_the_same_numbers() -> None:
    page = render([busy().snapshot()] * 2, triton_names=True)
    found = samples(parse_plain(page.body.decode()))
    in_us = 2e6
    for name, value in {
        "request_success": 6,
        "count": 606,
        "exec_count": 4,
        "pending_request_count": 4,
        "queue_duration_us": in_us * 1.0,
        "compute_input_duration_us": in_us * 0.03125,
        "compute_infer_duration_us": in_us * (2 * 0.125 + 0.5),
        "compute_output_duration_us": in_us * 0.0625,
        "request_duration_us": in_us * (1.0 + 0.03125 + 0.75 + 0.0625),
    }.items():
        assert found[of_digits(f"nv_inference_{name}")] == pytest.approx(value)
    for reason in ("REJECTED", "CANCELED", "BACKEND", "OTHER"):
        assert found[of_digits("nv_inference_request_failure", reason=reason)] == 2


def test_the_statistics_document_has_the_same_numbers() -> None:
    totals = combine([busy().snapshot()])
    found = statistics(totals, "digits", "3")
    assert (found.inference_count, found.execution_count) == (303, 2)
    assert found.last_inference == 1_234_500
    stats = found.inference_stats
    assert (stats.success.count, stats.fail) == (3, Duration(4, 3_500_000_000))
    assert stats.queue == Duration(3, 1_000_000_000)
    assert stats.compute_infer == Duration(3, 750_000_000)
    assert [(b.batch_size, b.compute_infer) for b in found.batch_stats] == [
        (3, Duration(1, 125_000_000)),
        (512, Duration(1, 500_000_000)),
    ]
    assert statistics(totals, "other").inference_stats.success == Duration()


def test_counting_does_not_import_prometheus_client() -> None:
    code = "import sys, scoring.metrics.exposition; print('prometheus_client' in sys.modules)"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout == "False\n"
