"""Pipelines are run by this process: made ready, begun, resumed, cancelled.

    run = prepare(workspace, read_spec("pipeline.yaml"))
    view = drive(workspace, run.id)

Made ready is written down whole before anything runs, so whatever happens then can be resumed.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import msgspec

from registry import Workspace
from registry.activities.log import ActivityLog
from registry.clock import utc_now
from registry.errors import RegistryError
from registry.tracking import Life, LifeTakenError, RunRecord, Status
from runtime.pipelines.attempt import Attempts, Runners
from runtime.pipelines.checks import check_surroundings, graph_of
from runtime.pipelines.engine import Engine, OnEvent
from runtime.pipelines.errors import PipelineError, PipelineFailedError
from runtime.pipelines.event import Event
from runtime.pipelines.own_run import cause_of
from runtime.pipelines.reading import with_parameters
from runtime.pipelines.records import FILE, PIPELINE, ROUND, is_pipeline, read_kept, round_of
from runtime.pipelines.steps import PipelineSpec
from runtime.pipelines.uploaded import folder_of
from runtime.pipelines.view import PipelineView, pipeline_view
from runtime.tracking.environment import user

LOG_LINES = 15
"""Of a failed step, that are shown."""


@dataclass(frozen=True, slots=True)
class Host:
    """Who runs steps, and for whom. ``environment``: what scripts may be passed variables of (None:
    this process's); ``actor``: who deploys (None: who runs this process); ``only_public``: bases
    of images are at public addresses; ``stands_in``: for an inferry up, where none runs;
    ``on_begin`` hears of the run once it runs; ``why_end`` is asked now and then: other than "" all
    ends, and has failed for that reason."""

    environment: Mapping[str, str] | None = None
    actor: str | None = None
    only_public: bool = False
    stands_in: bool = True
    on_begin: Callable[[RunRecord], None] = lambda run: None
    why_end: Callable[[], str] = lambda: ""


HERE = Host()


def runners_of(workspace: Workspace, host: Host = HERE) -> Runners:
    """What does steps in reality."""
    from runtime.pipelines.deploying import DeployRunner
    from runtime.pipelines.imaging import ImageRunner
    from runtime.pipelines.registering import RegisterRunner
    from runtime.pipelines.scripts import ScriptRunner

    return {
        "script": ScriptRunner(workspace, host.environment, host.why_end),
        "register": RegisterRunner(workspace),
        "image": ImageRunner(workspace, only_public=host.only_public),
        "deploy": DeployRunner(workspace, host.actor, stands_in=host.stands_in),
    }


def run_here(
    workspace: Workspace | Path | str,
    pipeline: PipelineSpec,
    *,
    parameters: Mapping[str, str],
    parallel: int | None,
    reuse: bool,
    on_event: OnEvent,
) -> PipelineView:
    """Raises BadPipelineError before anything has run, and PipelineFailedError."""
    opened = workspace if isinstance(workspace, Workspace) else Workspace.open(workspace)
    run = prepare(opened, with_parameters(pipeline, parameters))
    view = drive(opened, run.id, parallel=parallel, reuse=reuse, on_event=on_event)
    raise_if_failed(opened, view)
    return view


def prepare(workspace: Workspace, pipeline: PipelineSpec) -> RunRecord:
    """Look for all that is wrong, and write it down as a run that is yet to begin. Raises
    BadPipelineError."""
    graph_of(pipeline)
    check_surroundings(pipeline, workspace)
    return keep(workspace, pipeline)


def keep(
    workspace: Workspace, pipeline: PipelineSpec, *, by: str | None = None, id: str | None = None
) -> RunRecord:
    """Write it down. ``by``: who runs it (None: who runs this process); ``id``: of the run, that no
    run has."""
    tracking = workspace.tracking
    run = tracking.runs.schedule(
        pipeline.experiment or pipeline.name,
        name=pipeline.name,
        user=user() if by is None else by,
        source="pipeline",
        params=pipeline.parameters,
        tags={PIPELINE: pipeline.name},
        id=id,
    )
    tracking.files.put(run.id, FILE, [msgspec.json.encode(pipeline)])
    return run


def drive(
    workspace: Workspace,
    ref: str,
    *,
    runners: Runners | None = None,
    parallel: int | None = None,
    reuse: bool = True,
    on_event: OnEvent = lambda event: None,
    host: Host = HERE,
) -> PipelineView:
    """Begin a run that was made ready, or go on with one that has not finished: steps that are done
    stay done. Raises PipelineError where another process runs it, or it has finished."""
    run = workspace.tracking.runs.get(ref)
    pipeline = check_resumable(workspace, run)
    with folder_of(workspace, run, pipeline) as folder:
        placed = msgspec.structs.replace(pipeline, folder=str(folder))
        return _driven(workspace, run, placed, runners, parallel, reuse, on_event, host)


def _driven(
    workspace: Workspace,
    run: RunRecord,
    pipeline: PipelineSpec,
    runners: Runners | None,
    parallel: int | None,
    reuse: bool,
    on_event: OnEvent,
    host: Host,
) -> PipelineView:
    tracking = workspace.tracking
    if run.status == "scheduled" and run.cancel_requested:
        tracking.runs.end(run.id, "killed", cause="cancelled before it began")
        return pipeline_view(workspace, run.id)
    held = _Held(workspace, run)
    try:
        host.on_begin(held.run)
        attempts = Attempts(tracking, runners or runners_of(workspace, host), reuse=reuse)
        engine = Engine(
            tracking,
            pipeline,
            held.run,
            attempts,
            parallel=parallel or pipeline.parallel,
            on_event=held.noted(on_event),
            on_look=lambda: _look(held, engine, host),
        )
        engine.run()
        why = host.why_end()
        held.end(*(("failed", why) if why and not engine.is_done else _end_of(engine)))
    except KeyboardInterrupt:
        held.end("killed", "interrupted")
        raise
    except BaseException as error:
        held.end("failed", cause_of(error) if isinstance(error, Exception) else "stopped")
        raise
    return pipeline_view(workspace, run.id)


def check_resumable(workspace: Workspace, run: RunRecord) -> PipelineSpec:
    """What it runs. Raises PipelineError where it has finished, or is no pipeline's."""
    pipeline = read_kept(workspace.tracking, run)
    if run.status == "finished":
        raise PipelineError(f"{run.reference} has finished; there is nothing to resume")
    if run.status == "running" and workspace.tracking.lives.is_held(run.id):
        raise _taken(run)
    return pipeline


def cancel(workspace: Workspace, ref: str) -> RunRecord:
    """Ask for the end of all its steps. Raises PipelineError where it is no pipeline's, and
    ImmutableError where it has ended."""
    run = workspace.tracking.runs.get(ref)
    if not is_pipeline(run):
        raise PipelineError(f"run {run.reference} is no pipeline's; see inferry pipeline list")
    return workspace.tracking.runs.cancel(run.id)


def raise_if_failed(workspace: Workspace, view: PipelineView) -> None:
    """Raises PipelineFailedError, with the last lines of the first step that failed."""
    if view.status == "finished":
        return
    failed = next((s for s in view.steps if s.state in ("failed", "cancelled")), None)
    log = ""
    if failed is not None and failed.run_id is not None:
        text = workspace.tracking.log(failed.run_id).decode(errors="replace")
        log = "\n".join(text.splitlines()[-LOG_LINES:])
    how = "was cancelled" if view.status == "killed" else "failed"
    cause = f": {view.cause}" if view.cause else ""
    raise PipelineFailedError(f"pipeline run {view.run} {how}{cause}", log=log)


class _Held:
    """The parent run, held by this process, in a new round."""

    def __init__(self, workspace: Workspace, run: RunRecord) -> None:
        self._tracking = workspace.tracking
        self._life: Life
        try:
            self.run, self._life = self._tracking.runs.take(run.id)
        except LifeTakenError as error:
            raise _taken(run) from error
        self._log = ActivityLog(self._tracking.lives.log(run.id), utc_now)
        try:
            round = str(round_of(self.run) + 1)
            self.run = self._tracking.runs.tag(run.id, set={ROUND: round})
        except BaseException:
            self.end("failed", "it could not begin")
            raise

    def noted(self, on_event: OnEvent) -> OnEvent:
        """With a line in the run's log for all but what steps print, which is in theirs."""

        def note(event: Event) -> None:
            if event.what != "line":
                words = (event.step, event.what, event.run, event.text)
                self._log.add(" ".join(word for word in words if word))
            on_event(event)

        return note

    def beat(self) -> None:
        """It lives."""
        self._life.beat(time.time_ns() // 1_000_000)

    def end(self, status: Status, cause: str | None) -> None:
        """How it ended; what cannot be written, the life keeps."""
        self._log.end(status if cause is None else f"{status}: {cause}")
        with suppress(RegistryError):
            self._tracking.runs.end(self.run.id, status, cause=cause, life=self._life)


def _look(held: _Held, engine: Engine, host: Host) -> None:
    held.beat()
    if host.why_end() and not engine.is_cancelled:
        engine.cancel()


def _taken(run: RunRecord) -> PipelineError:
    return PipelineError(
        f"{run.reference} is run by another process; see inferry pipeline show {run.reference}"
    )


def _end_of(engine: Engine) -> tuple[Status, str | None]:
    if engine.is_done:
        return "finished", None
    if engine.is_cancelled:
        return "killed", "cancelled on request"
    if engine.failed:
        name, tried = engine.failed[0]
        more = f" (and {len(engine.failed) - 1} more)" if len(engine.failed) > 1 else ""
        how = "was cancelled" if tried.state == "cancelled" else "failed"
        return "failed", f"step '{name}' {how}: {tried.cause}{more}"
    return "failed", "steps were left undone"
