"""Runs as JSON and as tables have them."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from runtime.cli.output import Json, Record
from runtime.cli.text import size

if TYPE_CHECKING:
    from registry.lineage import Lines
    from registry.tracking import Metric, RunFile, RunRecord

COLUMNS = ("run", "name", "status", "started_at", "duration", "metrics", "tags")
FILE_COLUMNS = ("path", "size", "digest")
METRIC_COLUMNS = ("metric", "count", "last", "step", "min", "max")
MAX_SHOWN_METRICS = 6
HIDDEN_TAGS = ("mlflow.", "inferry.key", "inferry.outputs", "inferry.round")
"""How the tags begin that a table leaves out."""


def record(run: RunRecord) -> dict[str, Json]:
    """A run as JSON has it; numbers that JSON does not have are text."""
    return {
        "run": run.reference,
        "id": run.id,
        "experiment": run.experiment,
        "number": run.number,
        "name": run.name,
        "parent": run.parent,
        "status": run.status,
        "cause": run.cause,
        "user": run.user,
        "source": run.source,
        "revision": run.revision,
        "environment": run.environment,
        "started_at": moment(run.started_ms),
        "ended_at": None if run.ended_ms is None else moment(run.ended_ms),
        "duration_ms": None if run.ended_ms is None else run.ended_ms - run.started_ms,
        "is_deleted": run.is_deleted,
        "cancel_requested": run.cancel_requested,
        "params": dict(run.params),
        "metrics": {key: metric_record(each) for key, each in run.metrics.items()},
        "tags": dict(run.tags),
        "properties": dict(run.properties),
    }


def overview(run: RunRecord, now_ms: int) -> Record:
    """A run as a line of a table."""
    metrics: dict[str, Json] = {k: f"{m.value:.6g}" for k, m in run.metrics.items()}
    if len(metrics) > MAX_SHOWN_METRICS:
        more = len(metrics) - MAX_SHOWN_METRICS
        metrics = {k: metrics[k] for k in list(metrics)[:MAX_SHOWN_METRICS]} | {f"+{more}": ""}
    return {
        "run": run.reference,
        "name": run.name,
        "status": run.status,
        "started_at": moment(run.started_ms),
        "duration": duration((run.ended_ms or now_ms) - run.started_ms),
        "metrics": metrics,
        "tags": _own_tags(run.tags),
    }


def for_people(run: RunRecord, now_ms: int) -> dict[str, Json]:
    """A run as the table of ``show`` has it: the same facts in fewer words."""
    found = record(run)
    took = duration((run.ended_ms or now_ms) - run.started_ms)
    metrics = [
        f"{key} = {m.value:.6g}"
        + (f"  ({m.count} values, {m.min:.6g} to {m.max:.6g})" if m.count > 1 else "")
        for key, m in run.metrics.items()
    ]
    hidden = ("number", "experiment", "duration_ms", "is_deleted", "cancel_requested")
    shown = {key: value for key, value in found.items() if key not in hidden}
    marks = {
        key: "yes" for key in ("is_deleted", "cancel_requested") if found[key] and not run.has_ended
    }
    return {**shown, **marks, "duration": took, "metrics": metrics}


def metric_record(metric: Metric) -> Record:
    """A series as it is now."""
    return {
        "count": metric.count,
        "last": number(metric.value),
        "step": metric.step,
        "at": moment(metric.at_ms),
        "min": number(metric.min),
        "max": number(metric.max),
    }


def file_record(file: RunFile) -> Record:
    """One file of a run."""
    return {
        "path": file.path,
        "size_bytes": file.size_bytes,
        "size": size(file.size_bytes),
        "digest": file.digest,
        "at": moment(file.at_ms),
    }


def lines_record(lines: Lines) -> Record:
    """What a thing comes from and what uses it."""
    return {
        "came_from": [str(link) for link in lines.came_from],
        "used_by": [str(link) for link in lines.used_by],
    }


def environment_record(document: str | None) -> Json:
    """What was installed, as it was kept."""
    if document is None:
        return None
    found: Json = json.loads(document)
    return found


def moment(at_ms: int) -> str:
    """UTC, ISO 8601, to the second; a time that no calendar has as a number."""
    try:
        at = datetime.fromtimestamp(at_ms / 1000, UTC)
    except (ValueError, OverflowError, OSError):
        return f"{at_ms} ms"
    return at.isoformat(timespec="seconds").replace("+00:00", "Z")


def duration(took_ms: int) -> str:
    """``1:02:03`` or ``4.5 s``."""
    seconds = max(0, took_ms) / 1000
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def number(value: float) -> Json:
    """A float as JSON has it."""
    if math.isfinite(value):
        return value
    return "NaN" if value != value else ("Infinity" if value > 0 else "-Infinity")


def _own_tags(tags: Mapping[str, str]) -> Record:
    """Without those that MLflow's client sets on each run, and those that pipelines need."""
    return {key: value for key, value in tags.items() if not key.startswith(HIDDEN_TAGS)}
