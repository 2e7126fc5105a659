"""The numbers of a model in the shape of the Open Inference Protocol's statistics document.

[statistics(totals, "digits", "1")] is the value of "model_stats"; orjson writes it as it stands.
Counts are requests; ``compute_infer`` counts a batch's time once for each of its requests, as
Triton does, so that time / count is what a client waited for.
"""

from __future__ import annotations

from dataclasses import dataclass

from scoring.metrics.snapshot import Totals

NS = 1e9


@dataclass(frozen=True, slots=True)
class Duration:
    """How often, and for how many nanoseconds in all."""

    count: int = 0
    ns: int = 0


@dataclass(frozen=True, slots=True)
class InferenceStatistics:
    """The life of requests; ``fail`` has the refused ones too."""

    success: Duration
    fail: Duration
    queue: Duration
    compute_input: Duration
    compute_infer: Duration
    compute_output: Duration
    cache_hit: Duration = Duration()
    cache_miss: Duration = Duration()


@dataclass(frozen=True, slots=True)
class BatchStatistics:
    """Batches of one size in rows. Decoding and encoding are of requests: nothing here."""

    batch_size: int
    compute_infer: Duration
    compute_input: Duration = Duration()
    compute_output: Duration = Duration()


@dataclass(frozen=True, slots=True)
class ModelStatistics:
    """One model; ``last_inference`` is in milliseconds of Unix time, 0 before the first."""

    name: str
    version: str
    last_inference: int
    inference_count: int
    execution_count: int
    inference_stats: InferenceStatistics
    batch_stats: tuple[BatchStatistics, ...]


def models(totals: Totals) -> list[tuple[str, str]]:
    """(name, version) of each model that has numbers, in order."""
    return sorted((key[0], key[1]) for key in totals.counters.get("inferry_answered_total", {}))


def statistics(totals: Totals, name: str, version: str = "") -> ModelStatistics:
    """One model's statistics; zeros for a model that has none."""
    times = {}
    for part in ("decode", "queue", "encode"):
        found = totals.histogram(f"inferry_{part}_seconds", name, version)
        times[part] = Duration(found.count, round(found.total * NS))
    answered = int(totals.counter("inferry_answered_total", name, version))
    computed_s = totals.counter("inferry_answered_compute_seconds_total", name, version)
    compute = Duration(answered, round(computed_s * NS))
    refused = totals.counter("inferry_rejected_total", name, version)
    failed = totals.counter("inferry_failed_total", name, version)
    lost_s = totals.counter("inferry_not_answered_seconds_total", name, version)
    whole_ns = compute.ns + sum(duration.ns for duration in times.values())
    last = totals.gauges.get("inferry_last_answer_timestamp_seconds", {}).get((name, version))
    return ModelStatistics(
        name=name,
        version=version,
        last_inference=int(max(last) * 1000) if last else 0,
        inference_count=int(totals.histogram("inferry_batch_rows", name, version).total),
        execution_count=totals.histogram("inferry_compute_seconds", name, version).count,
        inference_stats=InferenceStatistics(
            success=Duration(answered, whole_ns),
            fail=Duration(int(refused + failed), round(lost_s * NS)),
            queue=times["queue"],
            compute_input=times["decode"],
            compute_infer=compute,
            compute_output=times["encode"],
        ),
        batch_stats=_batches(totals, name, version),
    )


def _batches(totals: Totals, name: str, version: str) -> tuple[BatchStatistics, ...]:
    seconds = totals.counters.get("inferry_batches_seconds_total", {})
    sizes = {
        int(rows): Duration(int(times), round(seconds[name, version, rows] * NS))
        for (of, in_version, rows), times in totals.counters.get(
            "inferry_batches_total", {}
        ).items()
        if (of, in_version) == (name, version)
    }
    return tuple(BatchStatistics(rows, sizes[rows]) for rows in sorted(sizes))
