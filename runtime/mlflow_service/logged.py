"""Routes of logged models, which MLflow 3's ``log_model`` and autolog make."""

from __future__ import annotations

import msgspec

from registry.tracking.logged_models import LoggedStatus
from runtime.mlflow_service import answers
from runtime.mlflow_service.answers import Json
from runtime.mlflow_service.desk import Desk
from runtime.mlflow_service.experiments import find as find_experiment
from runtime.mlflow_service.refusals import invalid
from runtime.mlflow_service.registered import limited
from runtime.mlflow_service.requests import (
    LoggedCreate,
    LoggedRequest,
    LoggedSearch,
    integer,
    missing,
    pairs,
)
from runtime.mlflow_service.runs import find_active

PAGE = 100
MAX_PAGE = 1000
_STATUS: dict[object, LoggedStatus] = {
    "LOGGED_MODEL_PENDING": "pending",
    "LOGGED_MODEL_READY": "ready",
    "LOGGED_MODEL_UPLOAD_FAILED": "failed",
    1: "pending",
    2: "ready",
    3: "failed",
}


class _Order(msgspec.Struct, frozen=True):
    field_name: str
    ascending: bool = True


def create(desk: Desk, asked: LoggedCreate) -> Json:
    """POST logged-models. One that no run wrote gets a run of its own: whatever there is came from
    something."""
    experiment = find_experiment(desk, asked.experiment_id)
    name = asked.name or "model"
    if asked.source_run_id:
        run = find_active(desk, asked.source_run_id)
        if run.experiment_id != experiment.id:
            raise invalid("the run with this source_run_id is in another experiment")
    else:
        run = desk.tracking.runs.create(
            experiment.id,
            name=name,
            user=desk.who,
            status="finished",
            tags={"mlflow.runName": name},
        )
    made = desk.tracking.logged_models.create(
        run.id,
        name,
        type=asked.model_type or "",
        params=pairs(asked.params),
        tags=pairs(asked.tags),
    )
    return {"model": answers.logged_model(made)}


def get(desk: Desk, asked: LoggedRequest) -> Json:
    """GET logged-models/{model_id}."""
    return {"model": answers.logged_model(desk.tracking.logged_models.get(asked.model_id))}


def finish(desk: Desk, asked: LoggedRequest) -> Json:
    """PATCH logged-models/{model_id}."""
    status = asked.status
    if status is None:
        raise missing("status")
    plain = int(status) if isinstance(status, str) and status.isdigit() else status
    if plain not in _STATUS:
        raise invalid(f"Invalid value {ascii(status)[:40]} for parameter 'status'")
    models = desk.tracking.logged_models
    found = models.finish(asked.model_id, _STATUS[plain], asked.status_message or "")
    return {"model": answers.logged_model(found)}


def delete(desk: Desk, asked: LoggedRequest) -> Json:
    """DELETE logged-models/{model_id}."""
    desk.tracking.logged_models.delete(asked.model_id)
    return {}


def set_tags(desk: Desk, asked: LoggedRequest) -> Json:
    """PATCH logged-models/{model_id}/tags."""
    found = desk.tracking.logged_models.tag(asked.model_id, set=pairs(asked.tags))
    return {"model": answers.logged_model(found)}


def delete_tag(desk: Desk, asked: LoggedRequest) -> Json:
    """DELETE logged-models/{model_id}/tags/{key}."""
    desk.tracking.logged_models.tag(asked.model_id, remove=[asked.key or ""])
    return {}


def add_params(desk: Desk, asked: LoggedRequest) -> Json:
    """POST logged-models/{model_id}/params."""
    desk.tracking.logged_models.add_params(asked.model_id, pairs(asked.params))
    return {}


def search(desk: Desk, asked: LoggedSearch) -> Json:
    """POST logged-models/search: the newest first."""
    if asked.datasets:
        raise invalid("logged models are not searched by datasets here; leave out 'datasets'")
    experiments = [integer(id, "experiment_ids") for id in asked.experiment_ids or ()]
    found = desk.tracking.logged_models.search(
        experiments=experiments,
        filter=asked.filter or "",
        order_by=_orders(asked),
        limit=limited(asked.max_results, PAGE, MAX_PAGE),
        token=asked.page_token,
    )
    answer: Json = {"models": [answers.logged_model(each) for each in found.items]}
    return answer | {"next_page_token": found.next_token} if found.next_token else answer


def _orders(asked: LoggedSearch) -> list[str]:
    try:
        sent = [msgspec.json.decode(raw, type=_Order) for raw in asked.order_by or ()]
    except msgspec.DecodeError as error:
        raise invalid(f"order_by cannot be read: {str(error)[:200]}") from None
    return [f"{order.field_name} {'ASC' if order.ascending else 'DESC'}" for order in sent]
