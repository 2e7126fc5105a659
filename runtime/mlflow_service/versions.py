"""Routes of model versions. A new one has the bytes that its source has now, and keeps them."""

from __future__ import annotations

import posixpath

from registry.errors import NotFoundError
from registry.model_origins import Origin
from registry.records import StoredFile
from registry.tracking.now import now_ms
from runtime.mlflow_service import answers
from runtime.mlflow_service.absent import IS_PROMPT, no_prompts
from runtime.mlflow_service.answers import Json
from runtime.mlflow_service.artifacts import files_of
from runtime.mlflow_service.desk import Desk
from runtime.mlflow_service.places import LoggedPlace, Place, RunPlace, VersionPlace, parse_source
from runtime.mlflow_service.refusals import invalid
from runtime.mlflow_service.registered import limited, not_registered, orders
from runtime.mlflow_service.requests import (
    ModelSearch,
    VersionCreate,
    VersionRequest,
    VersionTag,
    integer,
    missing,
    pairs,
)

PAGE = 10_000
"""As MLflow's own server without ``max_results``. It gives up to 200,000 at once; a page here ends
before, and its token asks for the rest."""
ALLOW_PICKLE = "inferry.allow_pickle"
"""The tag of a new version whose files may run code when they are opened: "true". Without it, and
unless the workspace allows it, they are refused (docs/guides/formats.md)."""


def create(desk: Desk, asked: VersionCreate) -> Json:
    """POST model-versions/create."""
    tags = pairs(asked.tags)
    if IS_PROMPT in tags:
        raise no_prompts()
    desk.workspace.model_names.newest(asked.name)
    place = _resolved(desk, parse_source(asked.source))
    run, logged = _came_from(desk, place)
    if asked.run_id and asked.run_id != run:
        raise invalid("the source is not of the run with this run_id")
    if asked.model_id and asked.model_id != logged:
        raise invalid("the source is not the logged model with this model_id")
    files = [
        StoredFile(_below(path, place.path), size, digest)
        for path, size, digest in files_of(desk, place)
    ]
    if not files:
        raise not_registered(asked.source)
    made = desk.workspace.models.register_stored(
        files,
        name=asked.name,
        tags=tags,
        description=asked.description or "",
        run=run,
        origin=Origin(asked.source, desk.who, now_ms(), logged),
        allow_pickle=tags.get(ALLOW_PICKLE, "").lower() in ("true", "1", "yes"),
    )
    return _answer(desk, made.name, made.version)


def get(desk: Desk, asked: VersionRequest) -> Json:
    """GET model-versions/get."""
    return _answer(desk, asked.name, integer(asked.version, "version"))


def download_uri(desk: Desk, asked: VersionRequest) -> Json:
    """GET model-versions/get-download-uri."""
    found = desk.workspace.model_names.version(asked.name, integer(asked.version, "version"))
    return {"artifact_uri": answers.download_uri(found)}


def update(desk: Desk, asked: VersionRequest) -> Json:
    """PATCH model-versions/update."""
    version = integer(asked.version, "version")
    desk.workspace.models.describe(f"{asked.name}:{version}", asked.description or "")
    desk.workspace.model_names.touch(asked.name, version)
    return _answer(desk, asked.name, version)


def delete(desk: Desk, asked: VersionRequest) -> Json:
    """DELETE model-versions/delete."""
    desk.workspace.models.delete(f"{asked.name}:{integer(asked.version, 'version')}")
    return {}


def transition(desk: Desk, asked: VersionRequest) -> Json:
    """POST model-versions/transition-stage."""
    if not asked.stage:
        raise missing("stage")
    version = integer(asked.version, "version")
    is_alone = bool(asked.archive_existing_versions)
    desk.workspace.model_names.set_stage(asked.name, version, asked.stage, is_alone=is_alone)
    return _answer(desk, asked.name, version)


def set_tag(desk: Desk, asked: VersionTag) -> Json:
    """POST model-versions/set-tag."""
    ref = f"{asked.name}:{integer(asked.version, 'version')}"
    desk.workspace.models.tag(ref, set={asked.key: asked.value or ""})
    return {}


def delete_tag(desk: Desk, asked: VersionTag) -> Json:
    """DELETE model-versions/delete-tag."""
    ref = f"{asked.name}:{integer(asked.version, 'version')}"
    desk.workspace.models.tag(ref, remove=[asked.key])
    return {}


def search(desk: Desk, asked: ModelSearch) -> Json:
    """GET model-versions/search: the newest first."""
    found = desk.workspace.model_names.search_versions(
        filter=asked.filter or "",
        order_by=orders(asked),
        limit=limited(asked.max_results, PAGE, PAGE),
        token=asked.page_token,
    )
    answer: Json = {"model_versions": [answers.version(each) for each in found.items]}
    return answer | {"next_page_token": found.next_token} if found.next_token else answer


def _resolved(desk: Desk, place: Place) -> Place:
    """With the number of the version that an alias or ``latest`` means."""
    if not isinstance(place, VersionPlace) or isinstance(place.version, int):
        return place
    if place.version == "latest":
        versions = desk.workspace.model_names.newest(place.name).versions
        if not versions:
            raise NotFoundError(f"the model {place.name} has no version")
        return VersionPlace(place.name, versions[-1].model.version, place.path)
    return VersionPlace(
        place.name, desk.workspace.aliases.get(place.name, place.version), place.path
    )


def _came_from(desk: Desk, place: Place) -> tuple[str | None, str | None]:
    """The run and the logged model of what is registered."""
    if isinstance(place, RunPlace):
        return place.run, None
    if isinstance(place, LoggedPlace):
        return desk.tracking.logged_models.get(place.model).run, place.model
    assert isinstance(place.version, int)
    found = desk.workspace.model_names.version(place.name, place.version)
    return found.run, None if found.origin is None else found.origin.logged_model


def _below(path: str, folder: str) -> str:
    """The path in the model: a folder's files keep theirs below it, a file its name. Pure."""
    if path == folder:
        return posixpath.basename(path)
    return path.removeprefix(f"{folder}/") if folder else path


def _answer(desk: Desk, name: str, version: int) -> Json:
    return {"model_version": answers.version(desk.workspace.model_names.version(name, version))}
