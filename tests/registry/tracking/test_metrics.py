"""Reading what was logged."""

from __future__ import annotations

import math

import pytest

from registry.errors import NotFoundError
from registry.tracking import RunRecord, Tracking, metrics


def test_history_comes_in_pages_in_the_order_of_arrival(tracking: Tracking, run: RunRecord) -> None:
    for start in range(0, 100, 7):
        end = min(start + 7, 100)
        tracking.runs.log(run.id, points=[("a", float(n), 100 - n, n) for n in range(start, end)])
    whole = tracking.metrics.history(run.id, "a")
    assert [point.value for point in whole] == [float(n) for n in range(100)]
    pages = [tracking.metrics.history(run.id, "a", offset=n, limit=30) for n in range(0, 130, 30)]
    assert [point for page in pages for point in page] == whole
    assert tracking.metrics.history(run.id, "a", offset=-5, limit=0) == []
    assert tracking.metrics.latest(run.id)["a"].value == 0.0  # step 100


def test_a_metric_that_is_not_there_is_not_found(tracking: Tracking, run: RunRecord) -> None:
    for read in (tracking.metrics.history, tracking.metrics.chart):
        with pytest.raises(NotFoundError, match="has no metric"):
            read(run.id, "nothing")
        with pytest.raises(NotFoundError, match="there is no run"):
            read("0" * 32, "nothing")
    assert tracking.metrics.latest(run.id) == {}
    assert tracking.metrics.values(run.id) == []


@pytest.mark.parametrize("reads", [0, 10_000])
@pytest.mark.parametrize("points", [1, 10, 1000])
def test_a_chart_covers_all_points_and_keeps_their_extremes(
    tracking: Tracking,
    run: RunRecord,
    reads: int,
    points: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(metrics, "MAX_READ", reads)
    values = [math.sin(n / 7) for n in range(999)] + [math.nan]
    values[500], values[501] = 99.0, -99.0
    for start in range(0, 1000, 130):
        batch = [("a", v, None, 0) for v in values[start : start + 130]]
        tracking.runs.log(run.id, points=batch)
    chart = tracking.metrics.chart(run.id, "a", points)
    assert len(chart) <= max(points, 1)
    assert sum(point.count for point in chart) == 1000
    assert max(point.max for point in chart if point.max == point.max) == 99.0
    assert min(point.min for point in chart if point.min == point.min) == -99.0
    assert chart[0].step == 0
    assert math.isnan(chart[-1].value)
    steps = [point.step for point in chart]
    assert steps == sorted(set(steps))
    if points == 1000 and reads:
        assert [point.value for point in chart[:-1]] == values[:-1]


def test_values_come_by_key_and_in_order(tracking: Tracking, run: RunRecord) -> None:
    for n in range(3):
        tracking.runs.log(
            run.id, values=[("rows", "row", n, f'{{"n":{n}}}'), ("l", "list", n, "[]")]
        )
    found = tracking.metrics.values(run.id)
    assert [(v.key, v.at_ms) for v in found] == [
        *(("l", n) for n in range(3)),
        *(("rows", n) for n in range(3)),
    ]
    assert [v.document for v in tracking.metrics.values(run.id, "rows")] == [
        '{"n":0}',
        '{"n":1}',
        '{"n":2}',
    ]
