"""Runs of pipelines, and the steps of one, drawn."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Any

from runtime.pipelines import PipelineView, pipeline_view
from runtime.pipelines.records import PIPELINE
from runtime.portal.answers import Answer, Commands, Page, Part
from runtime.portal.ask import Ask
from runtime.portal.graph import Node, drawn
from runtime.portal.pages.experiments import earlier
from runtime.portal.paths import url
from runtime.portal.place import Place

PAGE = 50


def pipelines(ask: Ask) -> Answer:
    """The newest runs of all pipelines."""
    token = ask.text("token", limit=50)
    page = ask.workspace.tracking.runs.search(
        filter=f"tags.`{PIPELINE}` IS NOT NULL", limit=PAGE, token=token or None
    )
    here = url("pipelines", workspace=ask.workspace_name)
    return Page(
        "pipelines.html",
        "Pipelines",
        {
            "runs": [(run, run.tags.get(PIPELINE, "")) for run in page.runs],
            "later": f"{here}?token={page.next_token}" if page.next_token else "",
            "earlier": f"{here}?token={earlier(token, PAGE)}" if token else "",
        },
        section="pipelines",
        commands=Commands("inferry pipeline list"),
    )


def pipeline(ask: Ask) -> Answer:
    """One run of a pipeline."""
    values = _values(ask)
    view: PipelineView = values["view"]
    return Page(
        "pipeline.html",
        f"{view.name}, run {view.run}",
        values,
        section="pipelines",
        trail=(("Pipelines", url("pipelines", workspace=ask.workspace_name)),),
        commands=Commands(
            f"inferry pipeline show {shlex.quote(view.run)}",
            f"pipeline_view(workspace, {view.run!r})",
        ),
    )


def pipeline_live(ask: Ask) -> Answer:
    """As it is now."""
    values = _values(ask)
    is_over = values["view"].status in ("finished", "failed", "killed")
    return Part("pipeline_live.html", values, is_over=is_over)


def _values(ask: Ask) -> dict[str, Any]:
    view = pipeline_view(ask.workspace, ask.arguments["id"])
    columns = depths({step.name: step.needs for step in view.steps})
    nodes = [
        Node(
            step.name,
            step.name,
            step.kind,
            columns[step.name],
            url("run", workspace=ask.workspace_name, id=step.run_id or view.run_id),
            state=step.state,
        )
        for step in view.steps
    ]
    return {
        "view": view,
        "drawing": drawn(nodes, view.edges, label=f"Steps of {view.name}"),
        "workspace": ask.workspace_name,
    }


def depths(needs: Mapping[str, tuple[str, ...]]) -> dict[str, int]:
    """How far along each step is; ``needs`` has each step after those that it needs."""
    found: dict[str, int] = {}
    for name, needed in needs.items():
        found[name] = 1 + max((found[each] for each in needed), default=-1)
    return found


PLACES = (
    Place("GET", "pipelines", "reader", pipelines),
    Place("GET", "pipeline", "reader", pipeline),
    Place("GET", "pipeline.live", "reader", pipeline_live, is_live=True),
)
