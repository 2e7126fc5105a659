"""What MLflow's clients ask, as they send it: names of fields are MLflow's, fields that are not
known are ignored, an integer may be text, and a float may be NaN or Infinity as text."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

import msgspec

from runtime.mlflow_service.refusals import RefusedError, invalid

T = TypeVar("T")


class Request(msgspec.Struct, frozen=True):
    """Base of all; a request without any field."""


class Pair(msgspec.Struct, frozen=True):
    """A tag or a param. What is not given is empty."""

    key: str
    value: str | None = ""


class RunRequest(Request, frozen=True):
    """Names a run by one of two fields."""

    run_id: str | None = None
    run_uuid: str | None = None

    @property
    def run(self) -> str:
        """The id. Raises RefusedError."""
        found = self.run_id or self.run_uuid
        if not found:
            raise missing("run_id")
        return found


class ExperimentName(Request, frozen=True):
    """get-by-name."""

    experiment_name: str


class ExperimentRequest(Request, frozen=True):
    """get, delete, restore, update."""

    experiment_id: str
    new_name: str | None = None


class ExperimentCreate(Request, frozen=True):
    """create."""

    name: str
    artifact_location: str | None = None
    tags: list[Pair] | None = None


class ExperimentTag(Request, frozen=True):
    """set-experiment-tag, delete-experiment-tag."""

    experiment_id: str
    key: str
    value: str | None = ""


class ExperimentSearch(Request, frozen=True):
    """search."""

    view_type: str | int | None = None
    max_results: int | None = None
    filter: str | None = None
    order_by: list[str] | None = None
    page_token: str | None = None


class RunCreate(Request, frozen=True):
    """runs/create."""

    experiment_id: str | None = None
    user_id: str | None = None
    run_name: str | None = None
    start_time: int | None = None
    tags: list[Pair] | None = None


class RunUpdate(RunRequest, frozen=True):
    """runs/update."""

    status: str | int | None = None
    end_time: int | None = None
    run_name: str | None = None


class RunSearch(Request, frozen=True):
    """runs/search."""

    experiment_ids: list[str] | None = None
    filter: str | None = None
    run_view_type: str | int | None = None
    max_results: int | None = None
    order_by: list[str] | None = None
    page_token: str | None = None


class MetricSent(msgspec.Struct, frozen=True):
    """One value of a batch."""

    key: str
    value: float
    timestamp: int
    step: int | None = None
    model_id: str | None = None


class LogMetric(RunRequest, frozen=True, kw_only=True):
    """runs/log-metric."""

    key: str
    value: float
    timestamp: int
    step: int | None = None
    model_id: str | None = None


class LogPair(RunRequest, frozen=True, kw_only=True):
    """runs/log-parameter, set-tag, delete-tag."""

    key: str
    value: str | None = ""


class LogBatch(RunRequest, frozen=True):
    """runs/log-batch."""

    metrics: list[MetricSent] | None = None
    params: list[Pair] | None = None
    tags: list[Pair] | None = None


class MetricHistory(RunRequest, frozen=True, kw_only=True):
    """metrics/get-history."""

    metric_key: str
    max_results: int | None = None
    page_token: str | None = None


class RunOutput(msgspec.Struct, frozen=True):
    """A logged model of a run."""

    model_id: str
    step: int | None = None


class RunOutputs(RunRequest, frozen=True):
    """runs/outputs."""

    models: list[RunOutput] | None = None


class LogModel(RunRequest, frozen=True, kw_only=True):
    """runs/log-model, of clients before 3: what a model in the run's artifacts is, as JSON."""

    model_json: str


class DatasetSent(msgspec.Struct, frozen=True):
    """Data that a run was trained or tested with."""

    name: str
    digest: str
    source_type: str | None = None
    source: str | None = None
    schema: str | None = None
    profile: str | None = None


class DatasetInput(msgspec.Struct, frozen=True):
    """Such data, and what it was used for."""

    dataset: DatasetSent
    tags: list[Pair] | None = None


class RunInputs(RunRequest, frozen=True):
    """runs/log-inputs."""

    datasets: list[DatasetInput] | None = None


class ArtifactList(RunRequest, frozen=True):
    """artifacts/list."""

    path: str | None = None


class ArtifactPath(Request, frozen=True):
    """mlflow-artifacts/artifacts."""

    path: str | None = None


class ModelName(Request, frozen=True):
    """registered-models/get, delete."""

    name: str


class ModelCreate(Request, frozen=True):
    """registered-models/create."""

    name: str
    description: str | None = None
    tags: list[Pair] | None = None


class ModelUpdate(Request, frozen=True):
    """registered-models/update."""

    name: str
    description: str | None = None


class ModelTag(Request, frozen=True):
    """registered-models/set-tag, delete-tag."""

    name: str
    key: str
    value: str | None = ""


class ModelAlias(Request, frozen=True):
    """registered-models/alias."""

    name: str
    alias: str
    version: str | int | None = None


class ModelSearch(Request, frozen=True):
    """registered-models/search and model-versions/search."""

    filter: str | None = None
    max_results: int | None = None
    order_by: list[str] | str | None = None
    page_token: str | None = None


class LatestVersions(Request, frozen=True):
    """registered-models/get-latest-versions."""

    name: str
    stages: list[str] | str | None = None


class VersionCreate(Request, frozen=True):
    """model-versions/create."""

    name: str
    source: str
    run_id: str | None = None
    model_id: str | None = None
    description: str | None = None
    tags: list[Pair] | None = None


class VersionRequest(Request, frozen=True):
    """model-versions/get, update, delete, get-download-uri, transition-stage."""

    name: str
    version: str | int
    description: str | None = None
    stage: str | None = None
    archive_existing_versions: bool | None = None


class VersionTag(Request, frozen=True):
    """model-versions/set-tag, delete-tag."""

    name: str
    version: str | int
    key: str
    value: str | None = ""


class LoggedCreate(Request, frozen=True):
    """logged-models."""

    experiment_id: str
    name: str | None = None
    model_type: str | None = None
    source_run_id: str | None = None
    params: list[Pair] | None = None
    tags: list[Pair] | None = None


class LoggedRequest(Request, frozen=True):
    """logged-models/{id}; the id is in the path."""

    model_id: str
    key: str | None = None
    status: str | int | None = None
    status_message: str | None = None
    tags: list[Pair] | None = None
    params: list[Pair] | None = None


class LoggedSearch(Request, frozen=True):
    """logged-models/search."""

    experiment_ids: list[str] | None = None
    filter: str | None = None
    datasets: list[msgspec.Raw] | None = None
    max_results: int | None = None
    order_by: list[msgspec.Raw] | None = None
    page_token: str | None = None


def missing(field: str) -> RefusedError:
    """A field that must be there."""
    return invalid(f"Missing value for required parameter '{field}'.")


def decode(kind: type[T], body: bytes) -> T:
    """A body of JSON. Raises RefusedError."""
    try:
        return msgspec.json.decode(body or b"{}", type=kind, strict=False)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise invalid(f"the request cannot be read: {_plain(error)}") from None


def convert(kind: type[T], fields: Mapping[str, object]) -> T:
    """The parameters of a path or query. Raises RefusedError."""
    try:
        return msgspec.convert(fields, kind, strict=False)
    except msgspec.ValidationError as error:
        raise invalid(f"the request cannot be read: {_plain(error)}") from None


def pairs(sent: list[Pair] | None) -> dict[str, str]:
    """Tags or params by key; of two with one key the last one."""
    return {pair.key: pair.value or "" for pair in sent or ()}


def integer(text: str | int, what: str) -> int:
    """A number that is sent as text. Raises RefusedError."""
    if isinstance(text, int):
        if -(2**63) <= text < 2**63:
            return text
    elif text.isascii() and text.isdigit() and len(text) < 19:
        return int(text)
    raise invalid(f"Invalid value {ascii(text)[:60]} for parameter '{what}': it is no number")


def _plain(error: Exception) -> str:
    return str(error)[:300]
