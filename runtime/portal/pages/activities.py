"""Activities: what takes long, as it goes."""

from __future__ import annotations

import shlex
from typing import Any

from registry.activities import Activity
from runtime.portal.answers import Answer, Commands, Go, Page, Part
from runtime.portal.ask import Ask
from runtime.portal.paths import url
from runtime.portal.place import Place
from runtime.workspace_service.hidden import log_without_hidden, without_hidden
from runtime.workspace_service.routes import activities as routes

PAGE = 100
LOG_BYTES = 32 * 1024


def activities(ask: Ask) -> Answer:
    """The newest ones."""
    return Page(
        "activities.html",
        "Activities",
        _list(ask),
        section="activities",
        commands=Commands("inferry activity list", "Workspace.open(folder).activities.list()"),
    )


def activities_live(ask: Ask) -> Answer:
    """The list as it is now."""
    return Part("activities_live.html", _list(ask))


def activity(ask: Ask) -> Answer:
    """One."""
    found = ask.workspace.activities.get(ask.arguments["id"])
    return Page(
        "activity.html",
        f"{found.kind} {found.subject}",
        _one(ask, found),
        section="activities",
        trail=(("Activities", url("activities", workspace=ask.workspace_name)),),
        commands=Commands(
            f"inferry activity show {shlex.quote(found.id)}",
            f"Workspace.open(folder).activities.get({found.id!r})",
        ),
    )


def activity_live(ask: Ask) -> Answer:
    """Its state, and the end of its log."""
    found = ask.workspace.activities.get(ask.arguments["id"])
    return Part("activity_live.html", _one(ask, found), is_over=not found.is_running)


def cancel(ask: Ask) -> Answer:
    """Ask for its end."""
    found = ask.workspace.activities.cancel(ask.arguments["id"])
    return Go(url("activity", workspace=ask.workspace_name, id=found.id), "cancelling")


def resume(ask: Ask) -> Answer:
    """Begin it again, as a client of the service began it."""
    begun = routes.resume(ask.call(), ref=ask.arguments["id"])
    return Go(url("activity", workspace=ask.workspace_name, id=begun.id), "resumed")


def _list(ask: Ask) -> dict[str, Any]:
    return {
        "activities": [
            without_hidden(each, ask.site.hidden)
            for each in ask.workspace.activities.list(limit=PAGE)
        ],
        "workspace": ask.workspace_name,
    }


def _one(ask: Ask, found: Activity) -> dict[str, Any]:
    data = log_without_hidden(ask.workspace.activities.log(found.id), ask.site.hidden)
    tail = data[-LOG_BYTES:].decode(errors="replace")
    if len(data) > LOG_BYTES:
        tail = tail.partition("\n")[2]
    return {
        "activity": without_hidden(found, ask.site.hidden),
        "workspace": ask.workspace_name,
        "tail": tail,
        "is_cut": len(data) > LOG_BYTES,
        "percent": None if not found.total else min(100, 100 * found.done // found.total),
    }


PLACES = (
    Place("GET", "activities", "reader", activities),
    Place("GET", "activities.live", "reader", activities_live, is_live=True),
    Place("GET", "activity", "reader", activity),
    Place("GET", "activity.live", "reader", activity_live, is_live=True),
    Place("POST", "activity.cancel", "contributor", cancel),
    Place("POST", "activity.resume", "contributor", resume),
)
