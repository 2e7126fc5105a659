"""Routes of registered models: names, their tags, and the aliases of their versions."""

from __future__ import annotations

from runtime.mlflow_service import answers
from runtime.mlflow_service.absent import IS_PROMPT, no_prompts
from runtime.mlflow_service.answers import Json
from runtime.mlflow_service.desk import Desk
from runtime.mlflow_service.refusals import RefusedError, invalid
from runtime.mlflow_service.requests import (
    LatestVersions,
    ModelAlias,
    ModelCreate,
    ModelName,
    ModelSearch,
    ModelTag,
    ModelUpdate,
    integer,
    missing,
    pairs,
)

PAGE = 100
MAX_PAGE = 1000


def create(desk: Desk, asked: ModelCreate) -> Json:
    """POST registered-models/create."""
    tags = pairs(asked.tags)
    if IS_PROMPT in tags:
        raise no_prompts()
    made = desk.workspace.model_names.create(
        asked.name, description=asked.description or "", tags=tags
    )
    return {"registered_model": answers.model_name(made)}


def get(desk: Desk, asked: ModelName) -> Json:
    """GET registered-models/get."""
    return {"registered_model": answers.model_name(desk.workspace.model_names.newest(asked.name))}


def update(desk: Desk, asked: ModelUpdate) -> Json:
    """PATCH registered-models/update."""
    found = desk.workspace.model_names.describe(asked.name, asked.description or "")
    return {"registered_model": answers.model_name(found)}


def delete(desk: Desk, asked: ModelName) -> Json:
    """DELETE registered-models/delete."""
    desk.workspace.model_names.delete(asked.name)
    return {}


def search(desk: Desk, asked: ModelSearch) -> Json:
    """GET registered-models/search."""
    found = desk.workspace.model_names.search(
        filter=asked.filter or "",
        order_by=orders(asked),
        limit=limited(asked.max_results, PAGE, MAX_PAGE),
        token=asked.page_token,
    )
    answer: Json = {"registered_models": [answers.model_name(each) for each in found.items]}
    return answer | {"next_page_token": found.next_token} if found.next_token else answer


def set_tag(desk: Desk, asked: ModelTag) -> Json:
    """POST registered-models/set-tag."""
    desk.workspace.model_names.tag(asked.name, set={asked.key: asked.value or ""})
    return {}


def delete_tag(desk: Desk, asked: ModelTag) -> Json:
    """DELETE registered-models/delete-tag."""
    desk.workspace.model_names.tag(asked.name, remove=(asked.key,))
    return {}


def set_alias(desk: Desk, asked: ModelAlias) -> Json:
    """POST registered-models/alias."""
    if asked.version is None:
        raise missing("version")
    version = integer(asked.version, "version")
    desk.workspace.aliases.set(asked.name, asked.alias, version, who=desk.who)
    return {}


def get_alias(desk: Desk, asked: ModelAlias) -> Json:
    """GET registered-models/alias."""
    names = desk.workspace.model_names
    version = names.newest(asked.name).aliases.get(asked.alias)
    if version is None:
        raise invalid(f"Registered model alias {ascii(asked.alias)[:80]} not found.")
    return {"model_version": answers.version(names.version(asked.name, version))}


def delete_alias(desk: Desk, asked: ModelAlias) -> Json:
    """DELETE registered-models/alias."""
    desk.workspace.aliases.remove(asked.name, asked.alias, who=desk.who)
    return {}


def latest_versions(desk: Desk, asked: LatestVersions) -> Json:
    """GET and POST registered-models/get-latest-versions: the newest of each stage asked for."""
    found = answers.latest(desk.workspace.model_names.newest(asked.name).versions)
    stages = [asked.stages] if isinstance(asked.stages, str) else asked.stages or []
    wanted = {stage.lower() for stage in stages}
    some = [each for each in found if not wanted or answers.stage(each).lower() in wanted]
    return {"model_versions": [answers.version(each) for each in some]}


def orders(asked: ModelSearch) -> list[str]:
    """A query has one of them, or several."""
    return [asked.order_by] if isinstance(asked.order_by, str) else asked.order_by or []


def limited(max_results: int | None, page: int, most: int) -> int:
    """How many a page has: as many as were asked for, ``page`` where nobody did, at most ``most``.
    Raises RefusedError."""
    if max_results is not None and max_results <= 0:
        raise invalid(f"max_results must be a positive integer, not {max_results}")
    return min(page if max_results is None else max_results, most)


def not_registered(source: str) -> RefusedError:
    """Nothing is where a new version's files should be."""
    return RefusedError(
        404, "RESOURCE_DOES_NOT_EXIST", f"there are no files at {ascii(source)[:120]}"
    )
