"""Routes of experiments. MLflow names one by its id."""

from __future__ import annotations

from collections.abc import Callable

from registry.tracking import Experiment, View
from runtime.mlflow_service import answers
from runtime.mlflow_service.answers import Json
from runtime.mlflow_service.desk import Desk
from runtime.mlflow_service.refusals import RefusedError, invalid
from runtime.mlflow_service.requests import (
    ExperimentCreate,
    ExperimentName,
    ExperimentRequest,
    ExperimentSearch,
    ExperimentTag,
    integer,
    missing,
    pairs,
)

PAGE = 1000
MAX_PAGE = 50_000
_VIEWS: dict[object, View] = {
    None: "active",
    "ACTIVE_ONLY": "active",
    "DELETED_ONLY": "deleted",
    "ALL": "all",
    1: "active",
    2: "deleted",
    3: "all",
}
_ORDERS: dict[str, Callable[[Experiment], str | int]] = {
    "name": lambda experiment: experiment.name,
    "experiment_id": lambda experiment: experiment.id,
    "creation_time": lambda experiment: experiment.created_ms,
    "last_update_time": lambda experiment: experiment.updated_ms,
}


def find(desk: Desk, id: str) -> Experiment:
    """The one with this id. Raises RefusedError, NotFoundError."""
    return desk.tracking.experiments.get_by_id(integer(id, "experiment_id"))


def view(sent: str | int | None) -> View:
    """Which of what is deleted is asked for. Raises RefusedError."""
    plain = int(sent) if isinstance(sent, str) and sent.isdigit() else sent
    if plain not in _VIEWS:
        raise invalid(f"{ascii(sent)[:40]} is no view; known: ACTIVE_ONLY, DELETED_ONLY, ALL")
    return _VIEWS[plain]


def create(desk: Desk, asked: ExperimentCreate) -> Json:
    """POST experiments/create."""
    if asked.artifact_location:
        raise invalid(
            "artifacts are kept in the workspace; create the experiment without artifact_location"
        )
    made = desk.tracking.experiments.create(asked.name, tags=pairs(asked.tags))
    return {"experiment_id": str(made.id)}


def get(desk: Desk, asked: ExperimentRequest) -> Json:
    """GET experiments/get."""
    return {"experiment": answers.experiment(find(desk, asked.experiment_id))}


def get_by_name(desk: Desk, asked: ExperimentName) -> Json:
    """GET experiments/get-by-name."""
    return {"experiment": answers.experiment(desk.tracking.experiments.get(asked.experiment_name))}


def delete(desk: Desk, asked: ExperimentRequest) -> Json:
    """POST experiments/delete."""
    found = find(desk, asked.experiment_id)
    if found.is_deleted:
        raise _not_active(found)
    desk.tracking.experiments.delete(found.name)
    return {}


def restore(desk: Desk, asked: ExperimentRequest) -> Json:
    """POST experiments/restore."""
    desk.tracking.experiments.restore(find(desk, asked.experiment_id).name)
    return {}


def update(desk: Desk, asked: ExperimentRequest) -> Json:
    """POST experiments/update."""
    if not asked.new_name:
        raise missing("new_name")
    found = find(desk, asked.experiment_id)
    if found.is_deleted:
        raise _not_active(found)
    desk.tracking.experiments.rename(found.name, asked.new_name)
    return {}


def search(desk: Desk, asked: ExperimentSearch) -> Json:
    """POST experiments/search."""
    limit = PAGE if asked.max_results is None else asked.max_results
    if not 0 < limit <= MAX_PAGE:
        raise invalid(f"max_results must be 1 to {MAX_PAGE}, not {limit}")
    offset = integer(asked.page_token or 0, "page_token")
    listed, text = desk.tracking.experiments.list, asked.filter or ""
    if asked.order_by:
        everything = _ordered(listed(view=view(asked.view_type), filter=text), asked.order_by)
        found = everything[offset : offset + limit + 1]
    else:
        found = listed(view=view(asked.view_type), filter=text, limit=limit + 1, offset=offset)
    answer: Json = {"experiments": [answers.experiment(each) for each in found[:limit]]}
    if len(found) > limit:
        answer["next_page_token"] = str(offset + limit)
    return answer


def set_tag(desk: Desk, asked: ExperimentTag) -> Json:
    """POST experiments/set-experiment-tag."""
    found = find(desk, asked.experiment_id)
    desk.tracking.experiments.tag(found.name, set={asked.key: asked.value or ""})
    return {}


def delete_tag(desk: Desk, asked: ExperimentTag) -> Json:
    """POST experiments/delete-experiment-tag."""
    found = find(desk, asked.experiment_id)
    desk.tracking.experiments.tag(found.name, remove=[asked.key])
    return {}


def _ordered(found: list[Experiment], orders: list[str]) -> list[Experiment]:
    for order in reversed(orders):
        words = order.split()
        field = words[0].lower().removeprefix("attributes.") if words else ""
        direction = "".join(words[1:]).upper()
        if field not in _ORDERS or direction not in ("", "ASC", "DESC"):
            raise invalid(
                f"{ascii(order)[:60]} is no order; known: {', '.join(_ORDERS)}, ASC, DESC"
            )
        found = sorted(found, key=_ORDERS[field], reverse=direction == "DESC")
    return found


def _not_active(found: Experiment) -> RefusedError:
    return invalid(f"the experiment {found.name!a} is deleted; restore it first")
