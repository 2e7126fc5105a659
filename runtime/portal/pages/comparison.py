"""Several runs beside each other: their curves in one drawing, and what differs."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from typing import Any

from registry.errors import NotFoundError
from registry.tracking import RunRecord
from registry.tracking.words import check_id
from runtime.portal.answers import Answer, Commands, Page
from runtime.portal.ask import Ask
from runtime.portal.chart import POINTS, Line, chart, points_of
from runtime.portal.paths import url
from runtime.portal.place import Place
from runtime.workspace_service.faults import Fault

MOST = 12
CHARTS = 8
ROWS = 300


def compare(ask: Ask) -> Answer:
    """Runs that the query names."""
    ids = ask.many("run", MOST)
    if not ids:
        raise Fault(400, "bad_value", "choose the runs to compare in the list of an experiment")
    runs = _found(ask, ids)
    keys = sorted({key for run in runs for key in run.metrics})
    start = ask.number("charts", 0, 0, 10**6)
    chosen = [key for key in ask.many("key", 50) if key in keys]
    drawable = [key for key in keys if any(_count(run, key) > 1 for run in runs)]
    wanted = chosen or drawable[start : start + CHARTS]
    params = sorted({key for run in runs for key in run.params})
    differing = [key for key in params if len({run.params.get(key) for run in runs}) > 1]
    names = [run.reference for run in runs]
    return Page(
        "comparison.html",
        "Compare runs",
        {
            "runs": runs,
            "charts": [_chart(ask, runs, key) for key in wanted],
            "charts_from": start,
            "charts_shown": CHARTS,
            "drawable": drawable,
            "is_chosen": bool(chosen),
            "metrics": keys[:ROWS],
            "differing": differing[:ROWS],
            "same": [key for key in params if key not in differing][:ROWS],
            "query": "&".join(f"run={run.id}" for run in runs),
        },
        section="experiments",
        trail=(("Experiments", url("experiments", workspace=ask.workspace_name)),),
        commands=Commands(
            f"inferry run list --filter {shlex.quote(_filter(ids))}",
            f"[Run.get(ref).record for ref in {names!r}]",
        ),
    )


def _found(ask: Ask, ids: Sequence[str]) -> list[RunRecord]:
    """In their order. Raises NotFoundError, InvalidNameError."""
    checked = [check_id(id) for id in ids]
    page = ask.workspace.tracking.runs.search(filter=_filter(checked), view="all", limit=MOST)
    by_id = {run.id: run for run in page.runs}
    missing = [id for id in checked if id not in by_id]
    if missing:
        raise NotFoundError(f"there is no run {missing[0]}")
    return [by_id[id] for id in checked]


def _filter(ids: Sequence[str]) -> str:
    listed = ", ".join(f"'{id}'" for id in ids)
    return f"attributes.run_id IN ({listed})"


def _count(run: RunRecord, key: str) -> int:
    return run.metrics[key].count if key in run.metrics else 0


def _chart(ask: Ask, runs: Sequence[RunRecord], key: str) -> dict[str, Any]:
    metrics = ask.workspace.tracking.metrics
    lines = [
        Line(run.reference, points_of(metrics.chart(run.id, key, POINTS)), number)
        for number, run in enumerate(runs)
        if key in run.metrics
    ]
    return {"key": key, "drawing": chart(lines, title=key), "lines": lines}


PLACES = (Place("GET", "compare", "reader", compare),)
