"""Runs that the service carries out: a script's files are uploaded first (``uploads.put``) and then
named (``runs.submit``). The answer is the run, as soon as there is one; it goes on whatever becomes
of the client, which looks at it as at any other. The client chooses the id (32 hexadecimal
digits), so that it can ask again when it got no answer."""

from __future__ import annotations

from starlette.responses import Response

from registry.blobs import BlobStore
from registry.paths import WorkspacePaths
from registry.tracking import RunRecord
from registry.tracking.snapshots import Submission
from runtime.registry_service.call import in_thread
from runtime.workspace_service.call import Call
from runtime.workspace_service.downloads import blob
from runtime.workspace_service.route import Route
from runtime.workspace_service.sent_file import SentFile
from runtime.workspace_service.work import SentAgain, SentRun


def submit(
    call: Call,
    *,
    id: str,
    experiment: str,
    config: str,
    files: tuple[SentFile, ...],
    inputs: dict[str, tuple[SentFile, ...]] | None = None,
    passed: dict[str, str] | None = None,
    name: str = "",
    parent: str | None = None,
    tags: dict[str, str] | None = None,
    properties: dict[str, str] | None = None,
    revision: str | None = None,
) -> RunRecord:
    """Run a script of uploaded files on a target. ``config`` is a run configuration as JSON;
    ``passed`` has the values of the variables that it passes, which are kept nowhere."""
    sent = SentRun(
        id,
        experiment,
        config,
        files,
        inputs or {},
        passed or {},
        name,
        parent,
        tags or {},
        properties or {},
        revision,
    )
    return call.site.work.submit(call, sent)


def rerun(
    call: Call,
    *,
    ref: str,
    id: str,
    target: str | None = None,
    name: str | None = None,
    passed: dict[str, str] | None = None,
) -> RunRecord:
    """Submit a run once more, as the run ``id``: the same files, inputs and configuration."""
    return call.site.work.rerun(call, SentAgain(id, ref, target, name, passed or {}))


def submission(call: Call, *, ref: str) -> Submission:
    """Show what a run was submitted with: its configuration as JSON, files and inputs."""
    return call.workspace.tracking.snapshots.of_run(ref)


async def snapshot_file(call: Call, *, ref: str, file: str) -> Response:
    """Download a file that a run was submitted with, or a range of its bytes."""
    found = await in_thread(call.workspace.tracking.snapshots.file, ref, file)
    store = BlobStore(WorkspacePaths(call.workspace.root))
    return await in_thread(blob, call, store, found.digest, file.rpartition("/")[2])


ROUTES = (
    Route("POST", "/submitted-runs", "runs.submit", "contributor", submit, status=201),
    Route("POST", "/runs/{ref}/rerun", "runs.rerun", "contributor", rerun, status=201),
    Route("GET", "/runs/{ref}/submission", "runs.submission", "reader", submission),
    Route("GET", "/runs/{ref}/snapshot/{file:path}", "runs.snapshot_file", "reader", snapshot_file),
)
