"""The same numbers under Triton's names, which keep dashboards and KEDA triggers working."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from scoring.metrics.snapshot import Totals
from scoring.metrics.statistics import ModelStatistics, models, statistics

US = 1e-3
"""Nanoseconds to microseconds."""

REASONS = {
    "bad-input": "OTHER",
    "abandoned": "CANCELED",
}
"""Triton's reason for ours; all other rejections are "REJECTED", all failures "BACKEND"."""


@dataclass(frozen=True, slots=True)
class Alias:
    """One metric: (labels, value) of each of its series."""

    name: str
    text: str
    samples: tuple[tuple[tuple[tuple[str, str], ...], float], ...]


def aliases(totals: Totals) -> Iterator[Alias]:
    """All of Triton's metrics that we have numbers for."""
    found = [statistics(totals, name, version) for name, version in models(totals)]
    for metric, text, values in _of_models(totals, found):
        samples = zip((_labels(one) for one in found), values, strict=True)
        yield Alias(f"nv_inference_{metric}", text, tuple(samples))
    failures = tuple(sample for one in found for sample in _failures(totals, one))
    yield Alias("nv_inference_request_failure", "Failed requests by reason", failures)


def _of_models(
    totals: Totals, found: list[ModelStatistics]
) -> Iterator[tuple[str, str, list[float]]]:
    stats = [one.inference_stats for one in found]
    yield "request_success", "Answered requests", [float(one.success.count) for one in stats]
    yield "count", "Rows that ran", [float(one.inference_count) for one in found]
    yield "exec_count", "Batches that ran", [float(one.execution_count) for one in found]
    waiting = totals.gauges.get("inferry_waiting", {})
    pending = [sum(waiting.get((one.name, one.version), [])) for one in found]
    yield "pending_request_count", "Requests in the queue", pending
    yield "request_duration_us", "Whole requests", [one.success.ns * US for one in stats]
    yield "queue_duration_us", "Waiting", [one.queue.ns * US for one in stats]
    yield "compute_input_duration_us", "Decoding", [one.compute_input.ns * US for one in stats]
    yield "compute_infer_duration_us", "Running", [one.compute_infer.ns * US for one in stats]
    yield "compute_output_duration_us", "Encoding", [one.compute_output.ns * US for one in stats]


def _labels(one: ModelStatistics, *more: tuple[str, str]) -> tuple[tuple[str, str], ...]:
    return (("model", one.name), ("version", one.version or "1"), *more)


def _failures(
    totals: Totals, one: ModelStatistics
) -> Iterator[tuple[tuple[tuple[str, str], ...], float]]:
    by_reason = dict.fromkeys(("REJECTED", "CANCELED", "BACKEND", "OTHER"), 0.0)
    for (name, version, reason), times in totals.counters["inferry_rejected_total"].items():
        if (name, version) == (one.name, one.version):
            by_reason[REASONS.get(reason, "REJECTED")] += times
    by_reason["BACKEND"] += totals.counter("inferry_failed_total", one.name, one.version)
    for reason, times in by_reason.items():
        yield _labels(one, ("reason", reason)), times
