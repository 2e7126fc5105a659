"""Routes that log to a run: what comes at the same time is written together (ledger.py)."""

from __future__ import annotations

from collections.abc import Iterable

from registry.tracking.entries import Entry
from registry.tracking.records import Point
from runtime.mlflow_service.refusals import invalid
from runtime.mlflow_service.requests import LogBatch, LogMetric, LogPair, MetricSent, pairs
from runtime.mlflow_service.runs import check_id

MAX_METRICS, MAX_PAIRS, MAX_ALL = 1000, 100, 1000
"""Of a batch, as MLflow's server has it."""


def metric(asked: LogMetric) -> Entry:
    """POST runs/log-metric."""
    step = 0 if asked.step is None else asked.step
    point = (asked.key, asked.value, step, asked.timestamp)
    models = ((asked.model_id, (point,)),) if asked.model_id else ()
    return Entry(check_id(asked.run), points=(point,), of_models=models)


def param(asked: LogPair) -> Entry:
    """POST runs/log-parameter."""
    return Entry(check_id(asked.run), params={asked.key: asked.value or ""})


def tag(asked: LogPair) -> Entry:
    """POST runs/set-tag. One tag is the name of the run."""
    value = asked.value or ""
    name = value if asked.key == "mlflow.runName" and value else None
    return Entry(check_id(asked.run), tags={asked.key: value}, name=name)


def batch(asked: LogBatch) -> Entry:
    """POST runs/log-batch."""
    metrics, params, tags = asked.metrics or [], asked.params or [], asked.tags or []
    for what, sent, most in (
        ("metrics", len(metrics), MAX_METRICS),
        ("params", len(params), MAX_PAIRS),
        ("tags", len(tags), MAX_PAIRS),
        ("metrics, params and tags", len(metrics) + len(params) + len(tags), MAX_ALL),
    ):
        if sent > most:
            raise invalid(f"a batch can have at most {most} {what}, not {sent}")
    given = pairs(params)
    if len(given) < len(params) and any(given[p.key] != (p.value or "") for p in params):
        raise invalid("a param is there twice in the batch, with two values")
    named = pairs(tags)
    return Entry(
        check_id(asked.run),
        points=tuple(map(_point, metrics)),
        params=given,
        tags=named,
        of_models=tuple(_by_model(metrics)),
        name=named.get("mlflow.runName") or None,
    )


def _point(sent: MetricSent) -> Point:
    return (sent.key, sent.value, 0 if sent.step is None else sent.step, sent.timestamp)


def _by_model(sent: Iterable[MetricSent]) -> Iterable[tuple[str, tuple[Point, ...]]]:
    found: dict[str, list[Point]] = {}
    for each in sent:
        if each.model_id:
            found.setdefault(each.model_id, []).append(_point(each))
    return ((id, tuple(points)) for id, points in found.items())
