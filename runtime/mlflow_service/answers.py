"""Records as MLflow's clients read them: pure."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

import msgspec

from registry.model_name_rows import NameRecord, VersionRecord
from registry.model_origins import REGISTERED
from registry.tracking import Experiment, RunRecord
from registry.tracking.datasets import RunDataset
from registry.tracking.logged_models import LoggedModel
from registry.tracking.records import Metric, MetricPoint

Json = dict[str, object]


def number(value: float) -> float | str:
    """JSON has no NaN and no infinities; MLflow writes them as text."""
    if math.isfinite(value):
        return value
    return "NaN" if value != value else "Infinity" if value > 0 else "-Infinity"


def pairs(values: Mapping[str, str]) -> list[Json]:
    """Tags or params."""
    return [{"key": key, "value": value} for key, value in values.items()]


def point(key: str, measured: Metric | MetricPoint) -> Json:
    """One value of a series."""
    return {
        "key": key,
        "value": number(measured.value),
        "timestamp": measured.at_ms,
        "step": measured.step,
    }


class Measured(msgspec.Struct, frozen=True, gc=False):
    """As ``point`` makes them, for those that come by the 100,000."""

    key: str
    value: float | str
    timestamp: int
    step: int


def points(key: str, rows: Iterable[tuple[float | None, int, int]]) -> list[Measured]:
    """The values of a series; each has its value (None for NaN), step and time."""
    return [
        Measured(
            key,
            # Most are finite, and a call for each would double the time.
            value if value is not None and -math.inf < value < math.inf else _word(value),
            at_ms,
            step,
        )
        for value, step, at_ms in rows
    ]


def _word(value: float | None) -> float | str:
    return number(math.nan if value is None else value)


def lifecycle(is_deleted: bool) -> str:
    """In MLflow's words."""
    return "deleted" if is_deleted else "active"


def experiment(found: Experiment) -> Json:
    """An experiment."""
    answer: Json = {
        "experiment_id": str(found.id),
        "name": found.name,
        "artifact_location": f"mlflow-artifacts:/{found.id}",
        "lifecycle_stage": lifecycle(found.is_deleted),
        "last_update_time": found.updated_ms,
        "creation_time": found.created_ms,
    }
    return answer | {"tags": pairs(found.tags)} if found.tags else answer


def run_info(run: RunRecord) -> Json:
    """What a run is."""
    answer: Json = {
        "run_id": run.id,
        "run_uuid": run.id,
        "experiment_id": str(run.experiment_id),
        "run_name": run.name or run.reference,
        "user_id": run.user,
        "status": run.status.upper(),
        "start_time": run.started_ms,
        "artifact_uri": f"mlflow-artifacts:/{run.experiment_id}/{run.id}/artifacts",
        "lifecycle_stage": lifecycle(run.is_deleted),
    }
    return answer if run.ended_ms is None else answer | {"end_time": run.ended_ms}


def run(
    found: RunRecord, logged: Iterable[LoggedModel] = (), datasets: Iterable[RunDataset] = ()
) -> Json:
    """A run with all it has said; ``logged`` are its models, ``datasets`` what it had."""
    data = {
        "metrics": [point(key, metric) for key, metric in found.metrics.items()],
        "params": pairs(found.params),
        "tags": pairs(_run_tags(found)),
    }
    outputs = [{"model_id": model.id, "step": model.step or 0} for model in logged]
    inputs = [dataset_input(each) for each in datasets]
    return {
        "info": run_info(found),
        "data": {key: value for key, value in data.items() if value},
        "inputs": {"dataset_inputs": inputs} if inputs else {},
        "outputs": {"model_outputs": outputs} if outputs else {},
    }


def dataset_input(found: RunDataset) -> Json:
    """Data of a run."""
    said = {
        "name": found.name,
        "digest": found.digest,
        "source_type": found.source_type,
        "source": found.source,
        "schema": found.schema,
        "profile": found.profile,
    }
    return {
        "tags": pairs(found.tags),
        "dataset": {key: value for key, value in said.items() if value},
    }


def _run_tags(found: RunRecord) -> dict[str, str]:
    """Its tags, and what MLflow keeps as tags: of a run that no client of MLflow began, too."""
    said = {
        "mlflow.runName": found.name or found.reference,
        "mlflow.user": found.user,
        "mlflow.source.name": found.source,
        "mlflow.source.git.commit": found.revision,
        "mlflow.parentRunId": found.parent,
    }
    return {key: value for key, value in said.items() if value} | dict(found.tags)


def model_name(found: NameRecord) -> Json:
    """A registered model, with the newest version of each stage."""
    answer: Json = {
        "name": found.name,
        "creation_timestamp": found.created_ms,
        "last_updated_timestamp": found.updated_ms,
        "description": found.description,
    }
    if found.versions:
        answer["latest_versions"] = [version(each) for each in latest(found.versions)]
    if found.tags:
        answer["tags"] = pairs(found.tags)
    if found.aliases:
        answer["aliases"] = [
            {"alias": alias, "version": str(number)} for alias, number in found.aliases.items()
        ]
    return answer


def latest(versions: Iterable[VersionRecord]) -> list[VersionRecord]:
    """The newest version of each stage."""
    return list({stage(each): each for each in versions}.values())


def stage(found: VersionRecord) -> str:
    """In which of MLflow's old stages it is."""
    return "None" if found.origin is None else found.origin.stage


def version(found: VersionRecord) -> Json:
    """A version of a model."""
    model, origin = found.model, found.origin
    answer: Json = {
        "name": model.name,
        "version": str(model.version),
        "creation_timestamp": found.created_ms,
        "last_updated_timestamp": updated_ms(found),
        "current_stage": stage(found),
        "description": model.description,
        "source": source(found),
        "status": "READY",
        "run_link": "",
    }
    if origin is not None and origin.user:
        answer["user_id"] = origin.user
    if origin is not None and origin.logged_model:
        answer["model_id"] = origin.logged_model
    if found.run:
        answer["run_id"] = found.run
    if model.tags:
        answer["tags"] = pairs(model.tags)
    if found.aliases:
        answer["aliases"] = list(found.aliases)
    return answer


def updated_ms(found: VersionRecord) -> int:
    """When it last changed, as far as a client of MLflow saw."""
    origin = found.origin
    return found.created_ms if origin is None or origin.updated_ms is None else origin.updated_ms


def source(found: VersionRecord) -> str:
    """Where it says that it comes from; that of a version made without MLflow is itself."""
    origin = found.origin
    return origin.source if origin is not None and origin.source else download_uri(found)


def download_uri(found: VersionRecord) -> str:
    """Where the registered bytes are: not those of the run, which may have changed since."""
    return f"{REGISTERED}{found.model.name}/{found.model.version}"


def logged_model(found: LoggedModel) -> Json:
    """A logged model."""
    info: Json = {
        "model_id": found.id,
        "experiment_id": str(found.experiment_id),
        "name": found.name,
        "creation_timestamp_ms": found.created_ms,
        "last_updated_timestamp_ms": found.updated_ms,
        "artifact_uri": f"mlflow-artifacts:/{found.experiment_id}/models/{found.id}/artifacts",
        "status": {
            "pending": "LOGGED_MODEL_PENDING",
            "ready": "LOGGED_MODEL_READY",
            "failed": "LOGGED_MODEL_UPLOAD_FAILED",
        }[found.status],
        "model_type": found.type,
        "source_run_id": found.run,
    }
    if found.cause:
        info["status_message"] = found.cause
    if found.tags:
        info["tags"] = pairs(found.tags)
    data: Json = {}
    if found.params:
        data["params"] = pairs(found.params)
    if found.metrics:
        data["metrics"] = [
            point(key, metric) | {"model_id": found.id, "run_id": found.run}
            for key, metric in found.metrics.items()
        ]
    return {"info": info, "data": data}
