"""What the protocol's statistics count, and the document of it (Triton's statistics extension)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Duration:
    """How often, and for how long together."""

    count: int = 0
    total_ns: int = 0


@dataclass(frozen=True, slots=True)
class BatchStatistics:
    """The runs with ``batch_size`` rows."""

    batch_size: int
    compute_infer: Duration
    compute_input: Duration = Duration()
    compute_output: Duration = Duration()


@dataclass(frozen=True, slots=True)
class Statistics:
    """Of one version of a model since the server started. ``last_inference_ms`` is in milliseconds
    since 1970; ``inference_count`` counts rows, ``execution_count`` runs, Durations requests."""

    model_name: str
    model_version: str
    last_inference_ms: int = 0
    inference_count: int = 0
    execution_count: int = 0
    success: Duration = Duration()
    fail: Duration = Duration()
    queue: Duration = Duration()
    compute_input: Duration = Duration()
    compute_infer: Duration = Duration()
    compute_output: Duration = Duration()
    batches: tuple[BatchStatistics, ...] = field(default=())


def statistics_document(models: Iterable[Statistics]) -> dict[str, Any]:
    """One entry for each of ``models``: clients that name one expect one."""
    return {"model_stats": [_model(model) for model in models]}


def _model(model: Statistics) -> dict[str, Any]:
    return {
        "name": model.model_name,
        "version": model.model_version,
        "last_inference": model.last_inference_ms,
        "inference_count": model.inference_count,
        "execution_count": model.execution_count,
        "inference_stats": {
            "success": _duration(model.success),
            "fail": _duration(model.fail),
            "queue": _duration(model.queue),
            "compute_input": _duration(model.compute_input),
            "compute_infer": _duration(model.compute_infer),
            "compute_output": _duration(model.compute_output),
            "cache_hit": _duration(Duration()),
            "cache_miss": _duration(Duration()),
        },
        "batch_stats": [
            {
                "batch_size": batch.batch_size,
                "compute_input": _duration(batch.compute_input),
                "compute_infer": _duration(batch.compute_infer),
                "compute_output": _duration(batch.compute_output),
            }
            for batch in sorted(model.batches, key=lambda batch: batch.batch_size)
        ],
    }


def _duration(duration: Duration) -> dict[str, int]:
    return {"count": duration.count, "ns": duration.total_ns}
