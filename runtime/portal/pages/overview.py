"""The first page of a workspace: what runs, what is new, what is wrong."""

from __future__ import annotations

from runtime.portal.answers import Answer, Commands, Page
from runtime.portal.ask import Ask
from runtime.portal.place import Place
from runtime.workspace_service.hidden import without_hidden

NEWEST = 8


def overview(ask: Ask) -> Answer:
    """A glance."""
    workspace = ask.workspace
    deployments = workspace.deployments.list()
    return Page(
        "overview.html",
        f"Workspace {ask.workspace_name}",
        {
            "experiments": workspace.tracking.experiments.list(limit=NEWEST),
            "runs": workspace.tracking.runs.search(limit=NEWEST).runs,
            "deployments": deployments,
            "troubled": [
                each
                for each in deployments
                if each.observed is not None and each.observed.state in ("degraded", "failed")
            ],
            "running": workspace.activities.list(running_only=True, limit=NEWEST),
            "activities": [
                without_hidden(each, ask.site.hidden)
                for each in workspace.activities.list(limit=NEWEST)
            ],
            "models": workspace.models.list(latest=True, limit=NEWEST),
        },
        section="overview",
        commands=Commands("inferry run list", "Workspace.open(folder).tracking.runs.search()"),
    )


PLACES = (Place("GET", "overview", "reader", overview),)
