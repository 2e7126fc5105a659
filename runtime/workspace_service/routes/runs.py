"""Runs: their beginning, what they say, their end. A run is named EXPERIMENT:NUMBER, or by its id
or the beginning of one; ``runs.find`` takes a name with slashes, too.

A process elsewhere begins a run (``runs.begin``), says that it lives (``runs.beat``), logs
(``runs.log``) and ends it (``runs.end``); each may be asked again by who got no answer
(registry/tracking/distant.py)."""

from __future__ import annotations

from registry.errors import NotFoundError
from registry.pages import MAX_LIMIT, Page
from registry.tracking import Point, RunPage, RunRecord, Status, Value, View
from registry.tracking.distant import Ended, Heard
from runtime.workspace_service.call import Call
from runtime.workspace_service.route import Route

PAGE = 1000


def search(
    call: Call,
    *,
    experiments: tuple[int, ...] | None = None,
    filter: str = "",
    order_by: tuple[str, ...] = (),
    view: View = "active",
    limit: int = PAGE,
    token: str | None = None,
) -> RunPage:
    """Search runs, a page at a time: ``experiments`` are ids, ``token`` is of the page before."""
    return call.workspace.tracking.runs.search(
        experiments=experiments,
        filter=filter,
        order_by=order_by,
        view=view,
        limit=limit,
        token=token,
    )


def find(call: Call, *, ref: str) -> RunRecord:
    """Find a run by its name, which may have slashes in it."""
    return call.workspace.tracking.runs.get(ref)


def get(call: Call, *, ref: str) -> RunRecord:
    """Show a run."""
    return call.workspace.tracking.runs.get(ref)


def create(
    call: Call,
    *,
    experiment: str | int,
    name: str = "",
    parent: str | None = None,
    user: str = "",
    source: str = "",
    status: Status = "running",
    started_ms: int | None = None,
    tags: dict[str, str] | None = None,
    params: dict[str, str] | None = None,
    properties: dict[str, str] | None = None,
) -> RunRecord:
    """Make a run that no process is known of; ``runs.update`` says how it is."""
    return call.workspace.tracking.runs.create(
        experiment,
        name=name,
        parent=parent,
        user=user or call.actor,
        source=source,
        status=status,
        started_ms=started_ms,
        tags=tags,
        params=params,
        properties=properties,
    )


def update(
    call: Call,
    *,
    id: str,
    status: Status | None = None,
    ended_ms: int | None = None,
    name: str | None = None,
) -> RunRecord:
    """Say how a run is, or what it is called."""
    return call.workspace.tracking.runs.update(id, status=status, ended_ms=ended_ms, name=name)


def begin(
    call: Call,
    *,
    id: str,
    experiment: str | int,
    client: str,
    name: str = "",
    parent: str | None = None,
    user: str = "",
    source: str = "",
    started_ms: int | None = None,
) -> RunRecord:
    """Begin the run ``id`` (32 hexadecimal digits, chosen by the client) of a process elsewhere."""
    return call.workspace.tracking.distant.begin(
        id,
        experiment,
        client=client,
        name=name,
        parent=parent,
        user=user,
        source=source,
        started_ms=started_ms,
    )


def log(
    call: Call,
    *,
    id: str,
    client: str,
    number: int,
    points: tuple[Point, ...] = (),
    values: tuple[Value, ...] = (),
    lines: str = "",
) -> bool:
    """Keep what a run logged, all or none, once for each ``number`` (from 1 on) of a ``client``:
    points [key, value, step or null, at_ms], values [key, kind, at_ms, JSON], lines of its log."""
    return call.workspace.tracking.distant.log(
        id, client=client, number=number, points=points, values=values, lines=lines
    )


def log_params(call: Call, *, id: str, params: dict[str, str]) -> None:
    """Keep what a run was started with; it can never change."""
    call.workspace.tracking.runs.log(id, params=params)


def beat(call: Call, *, id: str) -> Heard:
    """Say that the process of a run lives, and hear whether someone asked for its end."""
    return call.workspace.tracking.distant.beat(id)


def end(
    call: Call, *, id: str, status: Ended, ended_ms: int, cause: str | None = None
) -> RunRecord:
    """Say how the run of a process elsewhere ended."""
    return call.workspace.tracking.distant.end(id, status, cause=cause, ended_ms=ended_ms)


def describe(
    call: Call, *, id: str, revision: str | None = None, environment: str | None = None
) -> None:
    """Say what a run was started from: a git commit, and what is installed, as a JSON document."""
    call.workspace.tracking.runs.describe(id, revision=revision, environment=environment)


def environment(call: Call, *, digest: str) -> str:
    """Show what was installed, as it was kept: a JSON document."""
    found = call.workspace.tracking.runs.environment(digest)
    if found is None:
        raise NotFoundError("no run has this environment")
    return found


def cancel(call: Call, *, ref: str) -> RunRecord:
    """Ask for the end of a run."""
    return call.workspace.tracking.runs.cancel(ref)


def tag(
    call: Call, *, ref: str, set: dict[str, str] | None = None, remove: tuple[str, ...] = ()
) -> RunRecord:
    """Set and remove tags of a run."""
    return call.workspace.tracking.runs.tag(ref, set=set, remove=remove)


def add_properties(call: Call, *, ref: str, properties: dict[str, str]) -> RunRecord:
    """Add properties to a run; they can never change."""
    return call.workspace.tracking.runs.add_properties(ref, properties)


def children(
    call: Call,
    *,
    ref: str,
    recursive: bool = False,
    limit: int = MAX_LIMIT,
    token: str | None = None,
) -> Page[RunRecord]:
    """List the child runs of a run, and theirs, a page at a time."""
    runs = call.workspace.tracking.runs
    return runs.children_page(ref, recursive=recursive, limit=limit, token=token)


def delete(call: Call, *, ref: str, forever: bool = False) -> RunRecord:
    """Hide a run; ``forever``: forget it, unless something uses it."""
    runs = call.workspace.tracking.runs
    return runs.remove(ref) if forever else runs.delete(ref)


def restore(call: Call, *, ref: str) -> RunRecord:
    """Show a deleted run again."""
    return call.workspace.tracking.runs.restore(ref)


ROUTES = (
    Route("GET", "/runs", "runs.search", "reader", search),
    Route("POST", "/runs", "runs.create", "contributor", create, status=201),
    Route("POST", "/begun-runs", "runs.begin", "contributor", begin, status=201),
    Route("GET", "/run-names", "runs.find", "reader", find),
    Route("GET", "/environments/{digest}", "runs.environment", "reader", environment),
    Route("GET", "/runs/{ref}", "runs.get", "reader", get),
    Route("PATCH", "/runs/{id}", "runs.update", "contributor", update),
    Route("DELETE", "/runs/{ref}", "runs.delete", "contributor", delete),
    Route("POST", "/runs/{id}/log", "runs.log", "contributor", log, is_audited=False),
    Route("POST", "/runs/{id}/beat", "runs.beat", "contributor", beat, is_audited=False),
    Route("POST", "/runs/{id}/params", "runs.log_params", "contributor", log_params),
    Route("POST", "/runs/{id}/end", "runs.end", "contributor", end),
    Route("PUT", "/runs/{id}/origin", "runs.describe", "contributor", describe),
    Route("POST", "/runs/{ref}/cancel", "runs.cancel", "contributor", cancel),
    Route("PATCH", "/runs/{ref}/tags", "runs.tag", "contributor", tag),
    Route("POST", "/runs/{ref}/properties", "runs.add_properties", "contributor", add_properties),
    Route("POST", "/runs/{ref}/restore", "runs.restore", "contributor", restore),
    Route("GET", "/runs/{ref}/children", "runs.children", "reader", children),
)
