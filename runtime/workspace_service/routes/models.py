"""Models, and their aliases."""

from __future__ import annotations

from starlette.responses import Response

from registry.aliases import AliasChange
from registry.blobs import BlobStore
from registry.errors import NotFoundError
from registry.lineage import Lines
from registry.names import check_name
from registry.pages import MAX_LIMIT, Page
from registry.paths import WorkspacePaths
from registry.records import Model
from runtime.registry_service.call import in_thread
from runtime.workspace_service.call import Call
from runtime.workspace_service.downloads import blob
from runtime.workspace_service.route import Route
from runtime.workspace_service.routes.uploads import incoming_of
from runtime.workspace_service.sent_file import SentFile


def list_models(
    call: Call,
    *,
    name: str | None = None,
    tags: tuple[str, ...] = (),
    latest: bool = False,
    limit: int = MAX_LIMIT,
    token: str | None = None,
) -> Page[Model]:
    """List models, the newest version last, a page at a time: ``token`` is of the page before."""
    return call.workspace.models.page(name=name, tags=tags, latest=latest, limit=limit, token=token)


def get(call: Call, *, ref: str) -> Model:
    """Show a model: NAME:VERSION, or NAME for its latest version."""
    return call.workspace.models.get(ref)


def register(
    call: Call,
    *,
    name: str,
    files: tuple[SentFile, ...],
    tags: dict[str, str] | None = None,
    properties: dict[str, str] | None = None,
    description: str = "",
    run: str | None = None,
    allow_pickle: bool = False,
) -> Model:
    """Register files that were uploaded as the next version of a model."""
    incoming = incoming_of(call)
    stored = incoming.stored(call.actor, [(file.path, file.digest) for file in files])
    made = call.workspace.models.register_stored(
        stored,
        name=name,
        tags=tags,
        properties=properties,
        description=description,
        run=run,
        allow_pickle=allow_pickle,
    )
    incoming.release(call.actor, {file.digest for file in stored})
    return made


async def download(call: Call, *, ref: str, file: str) -> Response:
    """Download one file of a model, or a range of its bytes."""
    model = await in_thread(call.workspace.models.get, ref)
    for found in model.files:
        if found.path == file:
            store = BlobStore(WorkspacePaths(call.workspace.root))
            return await in_thread(blob, call, store, found.digest, file.rpartition("/")[2])
    raise NotFoundError(f"the model {model.reference} has no file {file!a}")


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


def list_aliases(call: Call, *, name: str) -> dict[str, int]:
    """List the aliases of a model, and the version that each means."""
    return dict(call.workspace.model_names.newest(check_name(name, "model name")).aliases)


def set_alias(call: Call, *, name: str, alias: str, version: int) -> None:
    """Let an alias mean this version of a model."""
    call.workspace.aliases.set(name, alias, version, who=call.actor)


def remove_alias(call: Call, *, name: str, alias: str) -> None:
    """Let an alias mean nothing."""
    call.workspace.aliases.remove(name, alias, who=call.actor)


def alias_history(
    call: Call,
    *,
    name: str,
    alias: str | None = None,
    limit: int = MAX_LIMIT,
    token: str | None = None,
) -> Page[AliasChange]:
    """Say what a model's aliases meant, and who changed them, a page at a time."""
    page = call.workspace.aliases.history_page(name, alias, limit=limit, token=token)
    if not page.items:
        call.workspace.model_names.newest(check_name(name, "model name"))
    return page


ROUTES = (
    Route("GET", "/models", "models.list", "reader", list_models),
    Route("POST", "/models", "models.register", "contributor", register, status=201),
    Route("GET", "/models/{ref}/files/{file:path}", "models.download", "reader", download),
    Route("GET", "/models/{name}/aliases", "aliases.list", "reader", list_aliases),
    Route("GET", "/models/{name}/alias-changes", "aliases.history", "reader", alias_history),
    Route("PUT", "/models/{name}/aliases/{alias}", "aliases.set", "contributor", set_alias),
    Route(
        "DELETE", "/models/{name}/aliases/{alias}", "aliases.remove", "contributor", remove_alias
    ),
    Route("GET", "/models/{ref}", "models.get", "reader", get),
    Route("GET", "/models/{ref}/lineage", "models.lineage", "reader", lines),
    Route("PATCH", "/models/{ref}/tags", "models.tag", "contributor", tag),
    Route(
        "POST", "/models/{ref}/properties", "models.add_properties", "contributor", add_properties
    ),
    Route("PUT", "/models/{ref}/description", "models.describe", "contributor", describe),
    Route("DELETE", "/models/{ref}", "models.delete", "contributor", delete),
)
