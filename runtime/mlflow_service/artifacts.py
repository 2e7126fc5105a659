"""Artifacts: what there is, and which file a path names. Bytes come and go in transfers.py."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol

from registry.errors import NotFoundError
from registry.tracking.logged_models import FOLDER, LoggedModel
from runtime.mlflow_service.answers import Json
from runtime.mlflow_service.desk import Desk
from runtime.mlflow_service.places import (
    LoggedPlace,
    Place,
    RunPlace,
    VersionPlace,
    check,
    own_path,
    parse,
)
from runtime.mlflow_service.refusals import RefusedError, invalid
from runtime.mlflow_service.requests import ArtifactList, ArtifactPath
from runtime.mlflow_service.runs import find, find_active


class Stored(Protocol):
    """A file of a run or of a model."""

    @property
    def path(self) -> str:
        """POSIX."""
        ...

    @property
    def size_bytes(self) -> int:
        """Of all of it."""
        ...


@dataclass(frozen=True, slots=True)
class Target:
    """Where an upload goes: a path in a run."""

    run: str
    path: str


def list_proxied(desk: Desk, asked: ArtifactPath) -> Json:
    """GET mlflow-artifacts/artifacts?path=: names in one folder."""
    try:
        place = parse(asked.path or "")
        return {"files": children(files_of(desk, place), place.path)}
    except NotFoundError:
        return {}


def list_of_run(desk: Desk, asked: ArtifactList) -> Json:
    """GET artifacts/list: paths in one folder of a run."""
    run = find(desk, asked.run)
    folder = own_path(check(asked.path or ""))
    place = RunPlace(run.id, folder)
    base = f"{folder}/" if folder else ""
    found = children(files_of(desk, place), folder)
    return {
        "root_uri": f"mlflow-artifacts:/{run.experiment_id}/{run.id}/artifacts",
        "files": [file | {"path": f"{base}{file['path']}"} for file in found],
    }


def delete(desk: Desk, path: str) -> None:
    """DELETE mlflow-artifacts/artifacts/<path>: a file, or a folder with all that is in it."""
    target = target_of(desk, path)
    if not target.path:
        raise invalid("name a file or a folder of the run")
    files = desk.tracking.files.list(target.run, target.path)
    desk.tracking.files.remove(target.run, [file.path for file in files])


def target_of(desk: Desk, path: str) -> Target:
    """Where an upload to this path goes. Raises RefusedError, NotFoundError."""
    place = parse(path)
    if isinstance(place, VersionPlace):
        raise RefusedError(
            403, "PERMISSION_DENIED", "the files of a registered model never change; register anew"
        )
    if isinstance(place, RunPlace):
        run = find_active(desk, place.run)
        _check_experiment(place.experiment, run.experiment_id)
        return Target(run.id, place.path)
    model = _logged(desk, place)
    return Target(find_active(desk, model.run).id, _join(model.folder, place.path))


def open_file(desk: Desk, path: str) -> tuple[Stored, Iterator[bytes]]:
    """The file that the path names, and its bytes. Raises NotFoundError."""
    place = parse(path)
    if not place.path:
        raise NotFoundError("the path names a folder, not a file")
    if isinstance(place, VersionPlace):
        return desk.workspace.models.chunks(f"{place.name}:{place.version}", place.path)
    if isinstance(place, RunPlace):
        run = find(desk, place.run)
        _check_experiment(place.experiment, run.experiment_id)
        return desk.tracking.files.chunks(run.id, place.path)
    model = _logged(desk, place)
    return desk.tracking.files.chunks(model.run, _join(model.folder, place.path))


def files_of(desk: Desk, place: Place) -> list[tuple[str, int, str]]:
    """Path within the run, logged model or version, bytes and digest of all files at or below a
    place. Raises NotFoundError."""
    if isinstance(place, VersionPlace):
        model = desk.workspace.models.get(f"{place.name}:{place.version}")
        return [
            (file.path, file.size_bytes, file.digest)
            for file in model.files
            if not place.path or file.path == place.path or file.path.startswith(f"{place.path}/")
        ]
    if isinstance(place, RunPlace):
        run = find(desk, place.run)
        _check_experiment(place.experiment, run.experiment_id)
        return [
            (file.path, file.size_bytes, file.digest)
            for file in desk.tracking.files.list(run.id, place.path)
            if not file.path.startswith(f"{FOLDER}/")
        ]
    logged = _logged(desk, place)
    return [
        (file.path.removeprefix(f"{logged.folder}/"), file.size_bytes, file.digest)
        for file in desk.tracking.files.list(logged.run, _join(logged.folder, place.path))
    ]


def children(files: Iterable[tuple[str, int, str]], folder: str) -> list[Json]:
    """What is directly in a folder, by name; nothing, where that is a file. Pure."""
    base = f"{folder}/" if folder else ""
    found: dict[str, Json] = {}
    for path, size, _ in files:
        if path.startswith(base):
            name, slash, _ = path[len(base) :].partition("/")
            entry: Json = {"path": name, "is_dir": bool(slash)}
            found[name] = entry if slash else entry | {"file_size": size}
    return [found[name] for name in sorted(found)]


def _logged(desk: Desk, place: LoggedPlace) -> LoggedModel:
    model = desk.tracking.logged_models.get(place.model)
    _check_experiment(place.experiment, model.experiment_id)
    return model


def _check_experiment(said: int | None, experiment: int) -> None:
    if said not in (None, experiment):
        raise NotFoundError(f"there is no such artifact in the experiment {said}")


def _join(folder: str, path: str) -> str:
    return f"{folder}/{path}" if path else folder
