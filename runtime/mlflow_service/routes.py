"""The table of routes: what answers each, and who may ask. Whoever mounts the application checks
the role before; tests are made from this table.

``{path}`` is one or more parts of a path, ``{model_id}`` and ``{key}`` are one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from registry.tracking.entries import Entry
from registry.tracking.making import Making
from runtime.mlflow_service import (
    artifacts,
    experiments,
    logged,
    logs,
    registered,
    requests,
    runs,
    versions,
)
from runtime.mlflow_service.answers import Json
from runtime.mlflow_service.desk import Desk

Role = Literal["reader", "contributor", "owner"]
Kind = Literal["ask", "log", "make", "upload", "download", "delete", "info"]
_API = "/api/2.0/mlflow/"
_FILES = "/api/2.0/mlflow-artifacts/artifacts"


@dataclass(frozen=True, slots=True)
class Route:
    """``kind`` says how ``answer`` is called: with a desk and a request, or to make an Entry of the
    ledger from a request; that of ``make`` makes a Making, with both. Of uploads, downloads and
    deletes of files it is None."""

    method: str
    path: str
    role: Role
    kind: Kind = "ask"
    request: type[Any] = requests.Request
    answer: (
        Callable[[Desk, Any], Json] | Callable[[Any], Entry] | Callable[[Desk, Any], Making] | None
    ) = None


def server_info(desk: Desk, asked: requests.Request) -> Json:
    """GET server-info: what a client asks before a large transfer."""
    return {
        "store_type": "Inferry",
        "workspaces_enabled": False,
        "trace_archival_enabled": False,
        "multipart_uploads_enabled": False,
        "multipart_downloads_enabled": False,
    }


def _read(method: str, path: str, request: type[Any], answer: Callable[[Desk, Any], Json]) -> Route:
    return Route(method, _API + path, "reader", "ask", request, answer)


def _change(
    method: str, path: str, request: type[Any], answer: Callable[[Desk, Any], Json]
) -> Route:
    return Route(method, _API + path, "contributor", "ask", request, answer)


def _log(path: str, request: type[Any], answer: Callable[[Any], Entry]) -> Route:
    return Route("POST", _API + path, "contributor", "log", request, answer)


_TABLE: tuple[Route, ...] = (
    _read("GET", "experiments/get-by-name", requests.ExperimentName, experiments.get_by_name),
    _change("POST", "experiments/create", requests.ExperimentCreate, experiments.create),
    _read("GET", "experiments/get", requests.ExperimentRequest, experiments.get),
    _read("POST", "experiments/search", requests.ExperimentSearch, experiments.search),
    _change("POST", "experiments/delete", requests.ExperimentRequest, experiments.delete),
    _change("POST", "experiments/restore", requests.ExperimentRequest, experiments.restore),
    _change("POST", "experiments/update", requests.ExperimentRequest, experiments.update),
    _change("POST", "experiments/set-experiment-tag", requests.ExperimentTag, experiments.set_tag),
    _change(
        "POST", "experiments/delete-experiment-tag", requests.ExperimentTag, experiments.delete_tag
    ),
    Route("POST", f"{_API}runs/create", "contributor", "make", requests.RunCreate, runs.create),
    _read("GET", "runs/get", requests.RunRequest, runs.get),
    _change("POST", "runs/update", requests.RunUpdate, runs.update),
    _read("POST", "runs/search", requests.RunSearch, runs.search),
    _log("runs/log-metric", requests.LogMetric, logs.metric),
    _log("runs/log-parameter", requests.LogPair, logs.param),
    _log("runs/log-batch", requests.LogBatch, logs.batch),
    _log("runs/set-tag", requests.LogPair, logs.tag),
    _change("POST", "runs/delete-tag", requests.LogPair, runs.delete_tag),
    _change("POST", "runs/delete", requests.RunRequest, runs.delete),
    _change("POST", "runs/restore", requests.RunRequest, runs.restore),
    _change("POST", "runs/log-inputs", requests.RunInputs, runs.inputs),
    _change("POST", "runs/log-model", requests.LogModel, runs.log_model),
    _change("POST", "runs/outputs", requests.RunOutputs, runs.outputs),
    _read("GET", "metrics/get-history", requests.MetricHistory, runs.history),
    _read("GET", "artifacts/list", requests.ArtifactList, artifacts.list_of_run),
    _change("POST", "registered-models/create", requests.ModelCreate, registered.create),
    _read("GET", "registered-models/get", requests.ModelName, registered.get),
    _change("PATCH", "registered-models/update", requests.ModelUpdate, registered.update),
    _change("DELETE", "registered-models/delete", requests.ModelName, registered.delete),
    _read("GET", "registered-models/search", requests.ModelSearch, registered.search),
    _change("POST", "registered-models/set-tag", requests.ModelTag, registered.set_tag),
    _change("DELETE", "registered-models/delete-tag", requests.ModelTag, registered.delete_tag),
    _change("POST", "registered-models/alias", requests.ModelAlias, registered.set_alias),
    _read("GET", "registered-models/alias", requests.ModelAlias, registered.get_alias),
    _change("DELETE", "registered-models/alias", requests.ModelAlias, registered.delete_alias),
    _read(
        "GET",
        "registered-models/get-latest-versions",
        requests.LatestVersions,
        registered.latest_versions,
    ),
    _read(
        "POST",
        "registered-models/get-latest-versions",
        requests.LatestVersions,
        registered.latest_versions,
    ),
    _change("POST", "model-versions/create", requests.VersionCreate, versions.create),
    _read("GET", "model-versions/get", requests.VersionRequest, versions.get),
    _read("GET", "model-versions/get-download-uri", requests.VersionRequest, versions.download_uri),
    _read("GET", "model-versions/search", requests.ModelSearch, versions.search),
    _change("PATCH", "model-versions/update", requests.VersionRequest, versions.update),
    _change("DELETE", "model-versions/delete", requests.VersionRequest, versions.delete),
    _change("POST", "model-versions/set-tag", requests.VersionTag, versions.set_tag),
    _change("DELETE", "model-versions/delete-tag", requests.VersionTag, versions.delete_tag),
    _change(
        "POST", "model-versions/transition-stage", requests.VersionRequest, versions.transition
    ),
    _change("POST", "logged-models", requests.LoggedCreate, logged.create),
    _read("POST", "logged-models/search", requests.LoggedSearch, logged.search),
    _read("GET", "logged-models/{model_id}", requests.LoggedRequest, logged.get),
    _change("PATCH", "logged-models/{model_id}", requests.LoggedRequest, logged.finish),
    _change("DELETE", "logged-models/{model_id}", requests.LoggedRequest, logged.delete),
    _change("PATCH", "logged-models/{model_id}/tags", requests.LoggedRequest, logged.set_tags),
    _change(
        "DELETE", "logged-models/{model_id}/tags/{key}", requests.LoggedRequest, logged.delete_tag
    ),
    _change("POST", "logged-models/{model_id}/params", requests.LoggedRequest, logged.add_params),
    Route("GET", _FILES, "reader", "ask", requests.ArtifactPath, artifacts.list_proxied),
    Route("PUT", f"{_FILES}/{{path}}", "contributor", "upload"),
    Route("GET", f"{_FILES}/{{path}}", "reader", "download"),
    Route("DELETE", f"{_FILES}/{{path}}", "contributor", "delete"),
    Route("GET", "/api/3.0/mlflow/server-info", "reader", "ask", requests.Request, server_info),
)
ROUTES: tuple[Route, ...] = (
    *_TABLE,
    *(Route(r.method, f"/ajax-{r.path[1:]}", r.role, r.kind, r.request, r.answer) for r in _TABLE),
)
"""All of them; MLflow's own pages ask below ``/ajax-api/``."""


class Finder:
    """Finds routes by method and path."""

    def __init__(self, routes: tuple[Route, ...] = ROUTES) -> None:
        self._exact = {(r.method, r.path): r for r in routes if "{" not in r.path}
        self._others = [(r, r.path.split("/")) for r in routes if "{" in r.path]

    def find(self, method: str, path: str) -> tuple[Route, dict[str, str]] | None:
        """The route, and the arguments of its path; None where there is none."""
        if (exact := self._exact.get((method, path))) is not None:
            return exact, {}
        parts = path.split("/")
        for route, pattern in self._others:
            if route.method == method and (found := _arguments(pattern, parts)) is not None:
                return route, found
        return None


def _arguments(pattern: list[str], parts: list[str]) -> dict[str, str] | None:
    if pattern[-1] == "{path}":
        head = len(pattern) - 1
        if len(parts) <= head or parts[:head] != pattern[:head]:
            return None
        return {"path": "/".join(parts[head:])}
    if len(pattern) != len(parts):
        return None
    found = {}
    for want, have in zip(pattern, parts, strict=True):
        if want.startswith("{"):
            found[want[1:-1]] = have
        elif want != have:
            return None
    return found
