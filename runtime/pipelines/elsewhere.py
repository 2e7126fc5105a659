"""Pipelines of a workspace behind a URL: sent from here, carried out by the service, followed.

run = run_elsewhere(remote, read_spec("pipeline.yaml"), environment=os.environ)
view = follow_elsewhere(remote, run, on_event=print)
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, cast

import msgspec

from registry import Workspace
from registry.tracking import RunRecord
from registry.tracking.records import ENDED
from runtime.errors import ServiceError
from runtime.pipelines.checks import graph_of
from runtime.pipelines.event import Event
from runtime.pipelines.records import read_kept
from runtime.pipelines.steps import PipelineSpec, ScriptStep
from runtime.pipelines.uploaded import packed
from runtime.pipelines.view import PipelineView, pipeline_view
from runtime.submission.order import passed_variables

if TYPE_CHECKING:
    from runtime.remote import RemoteWorkspace

LOOK_S = 0.5
PATIENCE_S = 600.0
OnEvent = Callable[[Event], None]
OnProgress = Callable[[int, int], None]


def run_elsewhere(
    remote: RemoteWorkspace,
    pipeline: PipelineSpec,
    *,
    environment: Mapping[str, str],
    parallel: int | None = None,
    reuse: bool = True,
    on_progress: OnProgress | None = None,
) -> RunRecord:
    """The run, which goes on there. ``environment``: what its scripts may be passed variables of.
    Raises BadPipelineError, InvalidSourceError, ServiceError, and what the service refuses."""
    from runtime.remote.transfers import Transfers
    from runtime.workspace_service.routes import pipelines as routes

    graph_of(pipeline)
    passed = _passed(pipeline, environment)
    sent, files = packed(pipeline)
    uploaded = Transfers(remote.client).send(list(files.values()), on_progress)
    named = tuple(replace(file, path=path) for path, file in zip(files, uploaded, strict=True))
    id = secrets.token_hex(16)
    return remote.submissions.begun(
        lambda: remote.client.ask(
            routes.run,
            id=id,
            pipeline=msgspec.json.encode(sent).decode(),
            files=named,
            passed=passed,
            parallel=parallel,
            reuse=reuse,
        )
    )


def resume_elsewhere(
    remote: RemoteWorkspace,
    ref: str,
    *,
    environment: Mapping[str, str],
    parallel: int | None = None,
    reuse: bool = True,
) -> RunRecord:
    """As ``run_elsewhere``, of one that did not finish."""
    from runtime.workspace_service.routes import pipelines as routes

    run = remote.tracking.runs.get(ref)
    passed = _passed(read_kept(_here(remote).tracking, run), environment)
    return remote.submissions.begun(
        lambda: remote.client.ask(
            routes.resume, ref=run.id, passed=passed, parallel=parallel, reuse=reuse
        )
    )


def follow_elsewhere(
    remote: RemoteWorkspace,
    run: RunRecord,
    on_event: OnEvent = lambda event: None,
    *,
    before: PipelineView | None = None,
) -> PipelineView:
    """How it ended. Ctrl-C asks the service for its end; a second one leaves it alone. ``before``:
    how it was before it was resumed, of which nothing is told. Raises ServiceError where the
    service was away for long: the pipeline goes on."""
    from runtime.pipelines.step_lines import Told
    from runtime.remote.submissions import Patience, is_away

    patience = Patience(remote.client.wait, time.monotonic, PATIENCE_S)
    told = Told(
        lambda id, offset: patience.ask(lambda: remote.tracking.log(id, offset)), on_event, before
    )
    is_asked = is_wanted = False
    while True:
        try:
            if is_wanted and not is_asked:
                is_asked = remote.submissions.asked_to_end(run)
            now = patience.ask(lambda: pipeline_view(_here(remote), run.id))
            told.look(now)
            if now.status in ENDED:
                return now
            remote.client.wait(LOOK_S)
        except KeyboardInterrupt:
            if is_wanted:
                raise
            is_wanted = True
            on_event(Event("cancelling"))
        except ServiceError as error:
            if not is_away(error):
                raise
            raise ServiceError(
                f"pipeline run {run.reference} goes on, but the service is out of reach ({error});"
                f" see inferry pipeline show {run.reference}"
            ) from error


def _passed(pipeline: PipelineSpec, environment: Mapping[str, str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for step in pipeline.steps:
        if isinstance(step, ScriptStep):
            found |= passed_variables(step.config, environment)
    return found


def _here(remote: RemoteWorkspace) -> Workspace:
    """It has the same attributes."""
    return cast(Workspace, remote)
