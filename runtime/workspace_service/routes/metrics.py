"""What runs logged: series, charts, values. A run is named by its id."""

from __future__ import annotations

from registry.errors import InvalidNameError
from registry.tracking import ChartPoint, Metric, MetricPoint, RunValue
from runtime.workspace_service.call import Call
from runtime.workspace_service.route import Route

MAX_POINTS = 50_000
"""Of one answer."""
MAX_VALUES_CHARS = 16 * 1024 * 1024
"""The same; a single value has less (registry/tracking/words.py)."""


def latest(call: Call, *, id: str) -> dict[str, Metric]:
    """List the series of a run as they are now."""
    return call.workspace.tracking.metrics.latest(id)


def history(
    call: Call, *, id: str, key: str, offset: int = 0, limit: int = MAX_POINTS
) -> list[MetricPoint]:
    """List the values of one series in the order of arrival, a page at a time."""
    if offset < 0 or not 0 < limit <= MAX_POINTS:
        raise InvalidNameError(f"a page has 1 to {MAX_POINTS} values, from number 0 or later on")
    return call.workspace.tracking.metrics.history(id, key, offset=offset, limit=limit)


def chart(call: Call, *, id: str, key: str, points: int = 500) -> list[ChartPoint]:
    """Show one series in about so many points, however long it is; extremes stay to be seen."""
    return call.workspace.tracking.metrics.chart(id, key, points)


def values(call: Call, *, id: str, key: str | None = None, offset: int = 0) -> list[RunValue]:
    """List what a run logged that is no number: lists, tables, images and so on; about 16 MiB at
    most: ask again from where it ended, until nothing comes."""
    if offset < 0:
        raise InvalidNameError("offset is a number of values from 0 on")
    return call.workspace.tracking.metrics.values(
        id, key, offset=offset, max_chars=MAX_VALUES_CHARS
    )


ROUTES = (
    Route("GET", "/runs/{id}/metrics", "metrics.latest", "reader", latest),
    Route("GET", "/runs/{id}/history", "metrics.history", "reader", history),
    Route("GET", "/runs/{id}/chart", "metrics.chart", "reader", chart),
    Route("GET", "/runs/{id}/values", "metrics.values", "reader", values),
)
