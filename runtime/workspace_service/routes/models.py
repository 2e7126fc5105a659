"""Models."""

from __future__ import annotations

from registry.lineage import Lines
from registry.records import Model
from runtime.workspace_service.call import Call
from runtime.workspace_service.route import Route


def list_models(
    call: Call, *, name: str | None = None, tags: tuple[str, ...] = (), latest: bool = False
) -> list[Model]:
    """List models, the newest version last."""
    return call.workspace.models.list(name=name, tags=tags, latest=latest)


def get(call: Call, *, ref: str) -> Model:
    """Show a model: NAME:VERSION, or NAME for its latest version."""
    return call.workspace.models.get(ref)


def lines(call: Call, *, ref: str) -> Lines:
    """Say what a model came from, and what uses it."""
    return call.workspace.lineage.of_model(ref)


def tag(
    call: Call, *, ref: str, set: dict[str, str] | None = None, remove: tuple[str, ...] = ()
) -> Model:
    """Set and remove tags of a model."""
    return call.workspace.models.tag(ref, set=set or {}, remove=remove)


def add_properties(call: Call, *, ref: str, properties: dict[str, str]) -> Model:
    """Add properties to a model; they can never change."""
    return call.workspace.models.add_properties(ref, properties)


def describe(call: Call, *, ref: str, description: str) -> Model:
    """Say what a model is, for people."""
    return call.workspace.models.describe(ref, description)


def delete(call: Call, *, ref: str) -> Model:
    """Delete a version of a model that nothing uses."""
    return call.workspace.models.delete(ref)


ROUTES = (
    Route("GET", "/models", "models.list", "reader", list_models),
    Route("GET", "/models/{ref}", "models.get", "reader", get),
    Route("GET", "/models/{ref}/lineage", "models.lineage", "reader", lines),
    Route("PATCH", "/models/{ref}/tags", "models.tag", "contributor", tag),
    Route(
        "POST", "/models/{ref}/properties", "models.add_properties", "contributor", add_properties
    ),
    Route("PUT", "/models/{ref}/description", "models.describe", "contributor", describe),
    Route("DELETE", "/models/{ref}", "models.delete", "contributor", delete),
)
