"""Models: their names, and the versions of one."""

from __future__ import annotations

import shlex

from registry.errors import NotFoundError
from runtime.portal.answers import Answer, Commands, Page
from runtime.portal.ask import Ask
from runtime.portal.paths import url
from runtime.portal.place import Place

PAGE = 100


def models(ask: Ask) -> Answer:
    """The newest version of each name."""
    sought = ask.text("q", limit=200).strip().lower()
    start = ask.number("from", 0, 0, 10**9)
    found = ask.workspace.models.window(part=sought, offset=start, limit=PAGE)
    return Page(
        "models.html",
        "Models",
        {
            "models": found.items,
            "sought": sought,
            "count": found.count,
            "later": start + PAGE if found.count > start + PAGE else None,
            "earlier": max(0, start - PAGE) if start else None,
        },
        section="models",
        commands=Commands(
            "inferry model list --latest", "Workspace.open(folder).models.list(latest=True)"
        ),
    )


def model(ask: Ask) -> Answer:
    """The versions of one name, the newest first."""
    name = ask.arguments["name"]
    start = ask.number("from", 0, 0, 10**9)
    found = ask.workspace.model_names.newest(name)
    versions = ask.workspace.model_names.versions(name, offset=start, limit=PAGE)
    if not versions.count:
        raise NotFoundError(f"the model {name} has no version yet")
    return Page(
        "model.html",
        name,
        {
            "found": found,
            "versions": versions.items,
            "later": start + PAGE if versions.count > start + PAGE else None,
            "earlier": max(0, start - PAGE) if start else None,
            "history": ask.workspace.aliases.history(name)[-50:][::-1],
        },
        section="models",
        trail=(("Models", url("models", workspace=ask.workspace_name)),),
        commands=Commands(
            f"inferry model list --name {shlex.quote(name)}",
            f"Workspace.open(folder).models.list(name={name!r})",
        ),
    )


PLACES = (Place("GET", "models", "reader", models), Place("GET", "model", "reader", model))
