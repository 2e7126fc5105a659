"""Routes of runs and metrics, but for those that only log (logs.py)."""

from __future__ import annotations

import re
import secrets

import msgspec

from registry.errors import NotFoundError
from registry.tracking import RunRecord, Status
from registry.tracking.datasets import RunDataset
from registry.tracking.making import Making, NewRun
from registry.tracking.now import now_ms
from runtime.mlflow_service import answers
from runtime.mlflow_service.answers import Json
from runtime.mlflow_service.desk import Desk
from runtime.mlflow_service.experiments import view
from runtime.mlflow_service.refusals import invalid
from runtime.mlflow_service.requests import (
    LogModel,
    LogPair,
    MetricHistory,
    RunCreate,
    RunInputs,
    RunOutputs,
    RunRequest,
    RunSearch,
    RunUpdate,
    integer,
    pairs,
)

PAGE = 1000
MAX_PAGE = 50_000
MAX_POINTS = 100_000
"""Of a series, in one answer."""
MODELS_TAG = "mlflow.log-model.history"
_ANY_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,255}")
_ID = re.compile(r"[0-9a-f]{32}")
_STATUS: dict[object, Status] = {
    "RUNNING": "running",
    "SCHEDULED": "scheduled",
    "FINISHED": "finished",
    "FAILED": "failed",
    "KILLED": "killed",
    1: "running",
    2: "scheduled",
    3: "finished",
    4: "failed",
    5: "killed",
}


def find(desk: Desk, id: str) -> RunRecord:
    """The run with just this id. Raises NotFoundError, RefusedError."""
    return desk.tracking.runs.get(check_id(id))


def find_active(desk: Desk, id: str) -> RunRecord:
    """As ``find``, of one that is not deleted."""
    found = find(desk, id)
    if found.is_deleted:
        raise invalid(f"the run {found.id} is deleted; restore it first")
    return found


def check_id(id: str) -> str:
    """``id`` itself, if a run can have it. Raises NotFoundError, RefusedError."""
    if _ID.fullmatch(id):
        return id
    if _ANY_ID.fullmatch(id):
        raise NotFoundError(f"Run with id={id} not found")
    raise invalid(f"Invalid run ID: {ascii(id)[:60]}")


def create(desk: Desk, asked: RunCreate) -> Making:
    """POST runs/create."""
    tags = pairs(asked.tags)
    name = asked.run_name or tags.get("mlflow.runName") or f"run-{secrets.token_hex(4)}"
    parent = tags.get("mlflow.parentRunId", "")
    new = NewRun(
        integer(asked.experiment_id or "0", "experiment_id"),
        name=name,
        parent=parent if _ID.fullmatch(parent) else None,  # MLflow takes any text for it
        user=desk.who or asked.user_id or "",
        source=tags.get("mlflow.source.name", ""),
        started_ms=asked.start_time,
        tags=tags | {"mlflow.runName": name},
    )
    revision = tags.get("mlflow.source.git.commit") or None
    return Making(new, secrets.token_hex(16), now_ms(), revision)


def get(desk: Desk, asked: RunRequest) -> Json:
    """GET runs/get."""
    found = find(desk, asked.run)
    logged = desk.tracking.logged_models.of_run(found.id)
    return {"run": answers.run(found, logged, desk.tracking.datasets.of_run(found.id))}


def update(desk: Desk, asked: RunUpdate) -> Json:
    """POST runs/update."""
    run = find_active(desk, asked.run)
    status = None if asked.status is None else _status(asked.status)
    name = asked.run_name or None
    if name:
        desk.tracking.runs.tag(run.id, set={"mlflow.runName": name})
    run = desk.tracking.runs.update(run.id, status=status, ended_ms=asked.end_time, name=name)
    return {"run_info": answers.run_info(run)}


def delete(desk: Desk, asked: RunRequest) -> Json:
    """POST runs/delete."""
    desk.tracking.runs.delete(find(desk, asked.run).id)
    return {}


def restore(desk: Desk, asked: RunRequest) -> Json:
    """POST runs/restore."""
    desk.tracking.runs.restore(find(desk, asked.run).id)
    return {}


def delete_tag(desk: Desk, asked: LogPair) -> Json:
    """POST runs/delete-tag."""
    run = find_active(desk, asked.run)
    if asked.key not in run.tags:
        raise NotFoundError(f"the run {run.id} has no tag {ascii(asked.key)[:80]}")
    desk.tracking.runs.tag(run.id, remove=[asked.key])
    return {}


def search(desk: Desk, asked: RunSearch) -> Json:
    """POST runs/search."""
    limit = PAGE if asked.max_results is None else asked.max_results
    if not 0 < limit <= MAX_PAGE:
        raise invalid(f"max_results must be 1 to {MAX_PAGE}, not {limit}")
    page = desk.tracking.runs.search(
        experiments=[integer(id, "experiment_ids") for id in asked.experiment_ids or ()],
        filter=asked.filter or "",
        order_by=asked.order_by or (),
        view=view(asked.run_view_type),
        limit=limit,
        token=asked.page_token or None,
    )
    answer: Json = {"runs": [answers.run(each) for each in page.runs]}
    if page.next_token:
        answer["next_page_token"] = page.next_token
    return answer


def history(desk: Desk, asked: MetricHistory) -> Json:
    """GET metrics/get-history."""
    limit = MAX_POINTS if asked.max_results is None else asked.max_results
    if limit <= 0:
        raise invalid(f"max_results must be a positive integer, not {limit}")
    limit = min(limit, MAX_POINTS)
    offset = integer(asked.page_token or 0, "page_token")
    run = find(desk, asked.run)
    if asked.metric_key not in run.metrics:
        return {"metrics": []}
    key = asked.metric_key
    rows = desk.tracking.metrics.rows(run.id, key, offset=offset, limit=limit + 1)
    answer: Json = {"metrics": answers.points(key, rows[:limit])}
    if len(rows) > limit:
        answer["next_page_token"] = str(offset + limit)
    return answer


def outputs(desk: Desk, asked: RunOutputs) -> Json:
    """POST runs/outputs."""
    run = find_active(desk, asked.run)
    steps = {model.model_id: model.step or 0 for model in asked.models or ()}
    desk.tracking.logged_models.set_steps(run.id, steps)
    return {}


def log_model(desk: Desk, asked: LogModel) -> Json:
    """POST runs/log-model: one more in a tag, where clients before 3 look for it."""
    try:
        msgspec.json.decode(asked.model_json, type=dict[str, msgspec.Raw])
    except (msgspec.DecodeError, RecursionError):
        raise invalid("model_json must be a JSON object") from None
    desk.tracking.runs.append_to_tag(check_id(asked.run), MODELS_TAG, asked.model_json)
    return {}


def inputs(desk: Desk, asked: RunInputs) -> Json:
    """POST runs/log-inputs."""
    desk.tracking.datasets.add(
        check_id(asked.run),
        [
            RunDataset(
                sent.dataset.name,
                sent.dataset.digest,
                sent.dataset.source_type or "",
                sent.dataset.source or "",
                sent.dataset.schema or "",
                sent.dataset.profile or "",
                pairs(sent.tags),
            )
            for sent in asked.datasets or ()
        ],
    )
    return {}


def _status(sent: str | int) -> Status:
    plain = int(sent) if isinstance(sent, str) and sent.isdigit() else sent
    if plain not in _STATUS:
        raise invalid(f"Invalid value {ascii(sent)[:40]} for parameter 'status'")
    return _STATUS[plain]
