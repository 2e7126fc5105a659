"""One run: what it measured, what it was given, what it wrote, and where it comes from."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

from registry.errors import InvalidNameError, NotFoundError
from registry.tracking import RunRecord
from runtime.portal.answers import Answer, Commands, File, Go, Page, Part
from runtime.portal.ask import Ask
from runtime.portal.chart import POINTS, Line, chart, points_of
from runtime.portal.links import linked
from runtime.portal.pages.rerun import again_of
from runtime.portal.pages.run_values import shown_values
from runtime.portal.paths import url
from runtime.portal.place import Place

CHARTS = 12
LOG_BYTES = 24 * 1024
CHUNK_BYTES = 1024 * 1024
FILES = 500
CHILDREN = 200


def run(ask: Ask) -> Answer:
    """All of one."""
    tracking = ask.workspace.tracking
    found = tracking.runs.get(ask.arguments["id"])
    lines = ask.workspace.lineage.of_run(found.id)
    files = tracking.files.list(found.id)
    children = tracking.runs.children(found.id)
    parent = None
    if found.parent is not None:
        parent = _get(ask, found.parent)
    start = ask.number("charts", 0, 0, 10**6)
    keys = sorted(found.metrics)
    values, values_left = shown_values(tracking.metrics, found.id)
    return Page(
        "run.html",
        found.reference,
        {
            "run": found,
            "parent": parent,
            "charts": _charts(ask, found, keys[start : start + CHARTS]),
            "charts_from": start,
            "charts_shown": CHARTS,
            "metrics": [found.metrics[key] for key in keys],
            "values": values,
            "values_left": values_left,
            "files": files[:FILES],
            "files_left": max(0, len(files) - FILES),
            "size_bytes": sum(file.size_bytes for file in files),
            "children": children[:CHILDREN],
            "children_left": max(0, len(children) - CHILDREN),
            "used_by": linked(ask, lines.used_by),
            "ref": ask.arguments["id"],
            "again": again_of(ask, found),
            **_live_values(ask, found),
        },
        section="experiments",
        trail=(
            ("Experiments", url("experiments", workspace=ask.workspace_name)),
            (
                found.experiment,
                url("experiment", workspace=ask.workspace_name, id=found.experiment_id),
            ),
        ),
        commands=Commands(
            f"inferry run show {shlex.quote(found.reference)}", f"Run.get({found.reference!r})"
        ),
    )


def live(ask: Ask) -> Answer:
    """What changes while it runs: its state, its latest values, the end of its log."""
    found = ask.workspace.tracking.runs.get(ask.arguments["id"])
    return Part("run_live.html", _live_values(ask, found), is_over=found.has_ended)


def log(ask: Ask) -> Answer:
    """The whole log, as text: as much as there is now."""
    tracking = ask.workspace.tracking
    found = tracking.runs.get(ask.arguments["id"])
    size = _log_bytes(ask, found)

    def chunks() -> Iterator[bytes]:
        left = size
        with suppress(FileNotFoundError), tracking.lives.log(found.id).open("rb") as file:
            while left > 0 and (data := file.read(min(left, CHUNK_BYTES))):
                left -= len(data)
                yield data

    return File(f"{found.experiment}-{found.number}.log", size, chunks())


def environment(ask: Ask) -> Answer:
    """What was installed where it ran."""
    tracking = ask.workspace.tracking
    found = tracking.runs.get(ask.arguments["id"])
    text = None if found.environment is None else tracking.runs.environment(found.environment)
    if text is None:
        raise NotFoundError(f"the run {found.reference} has no environment")
    document = json.loads(text)
    return Page(
        "run_environment.html",
        "Environment",
        {"run": found, "document": document if isinstance(document, dict) else {"": document}},
        section="experiments",
        trail=(
            ("Experiments", url("experiments", workspace=ask.workspace_name)),
            (found.reference, url("run", workspace=ask.workspace_name, id=found.id)),
        ),
        commands=Commands(
            f"inferry run show {shlex.quote(found.reference)} --environment",
            f"Run.get({found.reference!r}).record.environment",
        ),
    )


def tag(ask: Ask) -> Answer:
    """Set one tag, or remove one."""
    found = ask.workspace.tracking.runs.get(ask.arguments["id"])
    remove = ask.form.get("remove", ())
    key = ask.text("key", limit=500).strip()
    if not key and not remove:
        raise InvalidNameError("a tag needs a name")
    ask.workspace.tracking.runs.tag(
        found.id, set={key: ask.text("value")} if key else {}, remove=list(remove)
    )
    return _back(ask, found, "tagged")


def cancel(ask: Ask) -> Answer:
    """Ask for its end."""
    found = ask.workspace.tracking.runs.cancel(ask.arguments["id"])
    return _back(ask, found, "cancelling")


def delete(ask: Ask) -> Answer:
    """Hide it."""
    return _back(ask, ask.workspace.tracking.runs.delete(ask.arguments["id"]), "deleted")


def restore(ask: Ask) -> Answer:
    """Show it again."""
    return _back(ask, ask.workspace.tracking.runs.restore(ask.arguments["id"]), "restored")


def _charts(ask: Ask, found: RunRecord, keys: list[str]) -> list[dict[str, Any]]:
    metrics = ask.workspace.tracking.metrics
    made = []
    for key in keys:
        metric = found.metrics[key]
        if metric.count < 2:
            continue
        dots = points_of(metrics.chart(found.id, key, POINTS))
        made.append({"key": key, "drawing": chart([Line(key, dots)], title=key), "metric": metric})
    return made


def _live_values(ask: Ask, found: RunRecord) -> dict[str, Any]:
    size = _log_bytes(ask, found)
    data = ask.workspace.tracking.log(found.id, size - LOG_BYTES)
    tail = data[: 2 * LOG_BYTES].decode(errors="replace")
    if size > LOG_BYTES:
        tail = tail.partition("\n")[2]
    end = ask.now_s * 1000 if found.ended_ms is None else found.ended_ms
    return {
        "run": found,
        "workspace": ask.workspace_name,
        "tail": tail,
        "is_cut": size > LOG_BYTES,
        "log_bytes": size,
        "lasted_s": int(max(0, end - found.started_ms)) / 1000,
        "latest": [found.metrics[key] for key in sorted(found.metrics)[:CHARTS]],
    }


def _log_bytes(ask: Ask, found: RunRecord) -> int:
    try:
        return ask.workspace.tracking.lives.log(found.id).stat().st_size
    except FileNotFoundError:
        return 0


def _get(ask: Ask, id: str) -> RunRecord | None:
    try:
        return ask.workspace.tracking.runs.get(id)
    except NotFoundError:
        return None


def _back(ask: Ask, found: RunRecord, note: str) -> Go:
    return Go(url("run", workspace=ask.workspace_name, id=found.id), note)


PLACES = (
    Place("GET", "run", "reader", run),
    Place("GET", "run.live", "reader", live, is_live=True),
    Place("GET", "run.log", "reader", log),
    Place("GET", "run.environment", "reader", environment),
    Place("POST", "run.tag", "contributor", tag),
    Place("POST", "run.cancel", "contributor", cancel),
    Place("POST", "run.delete", "contributor", delete),
    Place("POST", "run.restore", "contributor", restore),
)
