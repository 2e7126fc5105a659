"""The files of runs, and their logs. A run is named by its id. Files are uploaded first
(``uploads.put``) and then named (``run_files.add``)."""

from __future__ import annotations

from dataclasses import replace

from starlette.responses import Response

from registry.blobs import BlobStore
from registry.pages import MAX_LIMIT, Page
from registry.paths import WorkspacePaths
from registry.tracking import RunFile
from registry.tracking.words import check_id
from runtime.registry_service.call import in_thread
from runtime.workspace_service.call import Call
from runtime.workspace_service.downloads import blob
from runtime.workspace_service.route import Route
from runtime.workspace_service.routes.uploads import incoming_of
from runtime.workspace_service.sent_file import SentFile

MAX_LOG_BYTES = 1024 * 1024
"""Of one answer."""


def list_files(
    call: Call, *, id: str, folder: str = "", limit: int = MAX_LIMIT, token: str | None = None
) -> Page[RunFile]:
    """List the files of a run, or those below a folder, a page at a time."""
    return call.workspace.tracking.files.page(id, folder, limit=limit, token=token)


def add(call: Call, *, id: str, files: tuple[SentFile, ...]) -> list[RunFile]:
    """Keep files that were uploaded as files of a run, all or none."""
    incoming = incoming_of(call)
    # The paths are a run's, which takes more than a model does: its own check is the one.
    held = incoming.stored(call.actor, [(f"{n}", file.digest) for n, file in enumerate(files)])
    stored = [replace(each, path=file.path) for each, file in zip(held, files, strict=True)]
    made = call.workspace.tracking.files.add_stored(id, stored)
    incoming.release(call.actor, {file.digest for file in files})
    return made


async def download(call: Call, *, id: str, file: str) -> Response:
    """Download a file of a run, or a range of its bytes."""
    found = await in_thread(call.workspace.tracking.files.get, id, file)
    store = BlobStore(WorkspacePaths(call.workspace.root))
    return await in_thread(blob, call, store, found.digest, file.rpartition("/")[2])


def remove(call: Call, *, id: str, paths: tuple[str, ...]) -> None:
    """Forget files of a run; purge frees them."""
    call.workspace.tracking.files.remove(id, paths)


def read_log(call: Call, *, id: str, offset: int = 0) -> bytes:
    """Read the log of a run from a byte on, as base64 in JSON; at most 1 MiB: ask again from the
    end of what came."""
    tracking = call.workspace.tracking
    tracking.metrics.latest(check_id(id))  # says that there is no such run
    return tracking.log(id, offset)[:MAX_LOG_BYTES]


ROUTES = (
    Route("GET", "/runs/{id}/files", "run_files.list", "reader", list_files),
    Route("POST", "/runs/{id}/files", "run_files.add", "contributor", add),
    Route("DELETE", "/runs/{id}/files", "run_files.remove", "contributor", remove),
    Route("GET", "/runs/{id}/files/{file:path}", "run_files.download", "reader", download),
    Route("GET", "/runs/{id}/log", "run_files.log", "reader", read_log),
)
