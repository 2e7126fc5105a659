"""Routes of registered models: names, their tags, and the aliases of their versions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from registry.model_names import NameRecord
from registry.tracking.filter import Attributes
from runtime.mlflow_service import answers
from runtime.mlflow_service.absent import IS_PROMPT, no_prompts
from runtime.mlflow_service.answers import Json
from runtime.mlflow_service.desk import Desk
from runtime.mlflow_service.matching import Value, page, select
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
ATTRIBUTES: Attributes = {
    "name": ("", "text"),
    "creation_timestamp": ("", "number"),
    "last_updated_timestamp": ("", "number"),
}


@dataclass(frozen=True, slots=True)
class _Facts:
    found: NameRecord
    params: Mapping[str, str] = field(default_factory=dict)
    metrics: Mapping[str, float] = field(default_factory=dict)

    @property
    def attributes(self) -> Mapping[str, Value]:
        found = self.found
        return {
            "name": found.name,
            "creation_timestamp": found.created_ms,
            "last_updated_timestamp": found.updated_ms,
        }

    @property
    def tags(self) -> Mapping[str, str]:
        return self.found.tags


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
    return {"registered_model": answers.model_name(desk.workspace.model_names.get(asked.name))}


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
    facts = [_Facts(each) for each in desk.workspace.model_names.list()]
    found = select(facts, asked.filter or "", orders(asked), ATTRIBUTES)
    limit = min(PAGE if asked.max_results is None else asked.max_results, MAX_PAGE)
    some, token = page(found, limit, asked.page_token)
    answer: Json = {"registered_models": [answers.model_name(each.found) for each in some]}
    return answer | {"next_page_token": token} if token else answer


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
    found = desk.workspace.model_names.get(asked.name)
    for version in found.versions:
        if asked.alias in version.aliases:
            return {"model_version": answers.version(version)}
    raise invalid(f"Registered model alias {ascii(asked.alias)[:80]} not found.")


def delete_alias(desk: Desk, asked: ModelAlias) -> Json:
    """DELETE registered-models/alias."""
    desk.workspace.aliases.remove(asked.name, asked.alias, who=desk.who)
    return {}


def latest_versions(desk: Desk, asked: LatestVersions) -> Json:
    """GET and POST registered-models/get-latest-versions: the newest of each stage asked for."""
    found = answers.latest(desk.workspace.model_names.get(asked.name).versions)
    stages = [asked.stages] if isinstance(asked.stages, str) else asked.stages or []
    wanted = {stage.lower() for stage in stages}
    some = [each for each in found if not wanted or answers.stage(each).lower() in wanted]
    return {"model_versions": [answers.version(each) for each in some]}


def orders(asked: ModelSearch) -> list[str]:
    """A query has one of them, or several."""
    return [asked.order_by] if isinstance(asked.order_by, str) else asked.order_by or []


def not_registered(source: str) -> RefusedError:
    """Nothing is where a new version's files should be."""
    return RefusedError(
        404, "RESOURCE_DOES_NOT_EXIST", f"there are no files at {ascii(source)[:120]}"
    )
