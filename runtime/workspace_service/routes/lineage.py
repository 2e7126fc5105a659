"""What came from what. That of models and images is beside them."""

from __future__ import annotations

from registry.lineage import Lines
from runtime.workspace_service.call import Call
from runtime.workspace_service.route import Route


def of_run(call: Call, *, ref: str) -> Lines:
    """Say which models, images and deployments there are because of a run."""
    return call.workspace.lineage.of_run(ref)


def of_deployment(call: Call, *, name: str) -> Lines:
    """Say what a deployment came from."""
    found = call.workspace.lineage.of_deployment(name)
    if not found.came_from:
        call.workspace.deployments.get(name)
    return found


ROUTES = (
    Route("GET", "/lineage/runs/{ref}", "lineage.of_run", "reader", of_run),
    Route("GET", "/lineage/deployments/{name}", "lineage.of_deployment", "reader", of_deployment),
)
