"""Experiments. A name may have slashes in it."""

from __future__ import annotations

from registry.pages import check_limit
from registry.tracking import Experiment, View
from runtime.workspace_service.call import Call
from runtime.workspace_service.route import Route

PAGE = 1000


def list_experiments(
    call: Call, *, view: View = "active", filter: str = "", limit: int = PAGE, offset: int = 0
) -> list[Experiment]:
    """List experiments, the newest first."""
    return call.workspace.tracking.experiments.list(
        view=view, filter=filter, limit=check_limit(limit, "experiments"), offset=offset
    )


def create(call: Call, *, name: str, tags: dict[str, str] | None = None) -> Experiment:
    """Make an experiment; a run makes its own by itself."""
    return call.workspace.tracking.experiments.create(name, tags=tags)


def get(call: Call, *, name: str) -> Experiment:
    """Show an experiment."""
    return call.workspace.tracking.experiments.get(name)


def get_by_id(call: Call, *, id: int) -> Experiment:
    """Show the experiment with this id."""
    return call.workspace.tracking.experiments.get_by_id(id)


def rename(call: Call, *, name: str, new_name: str) -> Experiment:
    """Call an experiment something else."""
    return call.workspace.tracking.experiments.rename(name, new_name)


def tag(
    call: Call, *, name: str, set: dict[str, str] | None = None, remove: tuple[str, ...] = ()
) -> Experiment:
    """Set and remove tags of an experiment."""
    return call.workspace.tracking.experiments.tag(name, set=set, remove=remove)


def delete(call: Call, *, name: str, forever: bool = False) -> Experiment:
    """Hide an experiment and its runs; ``forever``: forget one that has no runs."""
    experiments = call.workspace.tracking.experiments
    return experiments.remove(name) if forever else experiments.delete(name)


def restore(call: Call, *, name: str) -> Experiment:
    """Show a deleted experiment and its runs again."""
    return call.workspace.tracking.experiments.restore(name)


ROUTES = (
    Route("GET", "/experiments", "experiments.list", "reader", list_experiments),
    Route("POST", "/experiments", "experiments.create", "contributor", create, status=201),
    Route("GET", "/experiment-ids/{id}", "experiments.get_by_id", "reader", get_by_id),
    Route("GET", "/experiments/{name:path}", "experiments.get", "reader", get),
    Route("PUT", "/experiment-names/{name:path}", "experiments.rename", "contributor", rename),
    Route("PATCH", "/experiment-tags/{name:path}", "experiments.tag", "contributor", tag),
    Route(
        "POST", "/restored-experiments/{name:path}", "experiments.restore", "contributor", restore
    ),
    Route("DELETE", "/experiments/{name:path}", "experiments.delete", "contributor", delete),
)
