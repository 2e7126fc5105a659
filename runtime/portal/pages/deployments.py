"""Deployments: what is wanted, what was seen, what gets the traffic, and all that ever changed."""

from __future__ import annotations

import json
import shlex
from typing import Any

from registry.deployments import Deployment
from registry.errors import NotFoundError
from runtime.portal.answers import Answer, Commands, Go, Page, Part
from runtime.portal.ask import Ask
from runtime.portal.links import linked
from runtime.portal.live_figures import Figures
from runtime.portal.paths import url
from runtime.portal.place import Place

LEDGER = 200


def deployments(ask: Ask) -> Answer:
    """All."""
    return Page(
        "deployments.html",
        "Deployments",
        _list(ask),
        section="deployments",
        commands=Commands("inferry deployment list", "Workspace.open(folder).deployments.list()"),
    )


def deployments_live(ask: Ask) -> Answer:
    """The list as it is now."""
    return Part("deployments_live.html", _list(ask))


def deployment(ask: Ask) -> Answer:
    """One."""
    name = ask.arguments["name"]
    found = ask.workspace.deployments.get(name)
    lines = ask.workspace.lineage.of_deployment(name)
    entries = _newest(ask, name)
    return Page(
        "deployment.html",
        name,
        {
            **_one(ask, found),
            "came_from": linked(ask, lines.came_from),
            "ledger": [
                (each, json.dumps(each.detail, sort_keys=True, ensure_ascii=False))
                for each in entries
            ],
            "can_go_back": any(each.number != found.goal for each in found.revisions),
        },
        section="deployments",
        trail=(("Deployments", url("deployments", workspace=ask.workspace_name)),),
        commands=Commands(
            f"inferry deployment show {shlex.quote(name)}",
            f"Workspace.open(folder).deployments.get({name!r})",
        ),
    )


def deployment_live(ask: Ask) -> Answer:
    """State, figures and replicas as they are now."""
    try:
        found = ask.workspace.deployments.get(ask.arguments["name"])
    except NotFoundError:
        return Part("gone.html", {}, is_over=True)
    return Part("deployment_live.html", _one(ask, found))


def rollback(ask: Ask) -> Answer:
    """Make an earlier revision the goal again."""
    name = ask.arguments["name"]
    ask.workspace.deployments.rollback(
        name, ask.text("revision", limit=100) or None, actor=ask.actor
    )
    return Go(url("deployment", workspace=ask.workspace_name, name=name), "rolled-back")


def _list(ask: Ask) -> dict[str, Any]:
    found = ask.workspace.deployments.list()
    return {
        "rows": [(each, _figures(ask, each), _ready(each)) for each in found],
        "workspace": ask.workspace_name,
    }


def _one(ask: Ask, found: Deployment) -> dict[str, Any]:
    return {
        "deployment": found,
        "observed": found.observed,
        "replicas": () if found.observed is None else found.observed.replicas,
        "figures": _figures(ask, found),
        "ready": _ready(found),
        "images": {each.number: each for each in found.revisions},
        "workspace": ask.workspace_name,
    }


def _newest(ask: Ask, name: str) -> list[Any]:
    """The newest entries, the newest first; the ledger is read from its beginning."""
    found: list[Any] = []
    after = 0
    while True:
        page = ask.workspace.deployments.ledger(name, after=after, limit=1000)
        found = [*found, *page][-LEDGER:]
        if len(page) < 1000:
            return found[::-1]
        after = page[-1].id


def _figures(ask: Ask, found: Deployment) -> Figures:
    if ask.figures is None:
        return Figures()
    return ask.figures.of(ask.workspace_name, found)


def _ready(found: Deployment) -> int:
    replicas = () if found.observed is None else found.observed.replicas
    return sum(each.state == "ready" for each in replicas)


PLACES = (
    Place("GET", "deployments", "reader", deployments),
    Place("GET", "deployments.live", "reader", deployments_live, is_live=True),
    Place("GET", "deployment", "reader", deployment),
    Place("GET", "deployment.live", "reader", deployment_live, is_live=True),
    Place("POST", "deployment.rollback", "contributor", rollback),
)
