"""Pipelines that clients have sent: checked, kept with their files, and driven here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import msgspec

from registry import Workspace
from registry.deployments import ServiceSettings
from registry.errors import NotFoundError
from registry.tracking import RunRecord
from registry.tracking.snapshots import Snapshot
from runtime.errors import BadValueError
from runtime.pipelines.checks import check_surroundings, graph_of
from runtime.pipelines.here import Host, check_resumable, drive, keep
from runtime.pipelines.steps import DeployStep, ImageStep, PipelineSpec, ScriptStep, made_name
from runtime.pipelines.uploaded import check_contained, laid_out, require_sent, sent_files
from runtime.run_service.jobs import MOST, OnBegin
from runtime.run_service.sent import check_passed
from runtime.workspace_service.call import Call
from runtime.workspace_service.image_orders import check_base
from runtime.workspace_service.own_machine import allows_engine, check_local_code, check_settings
from runtime.workspace_service.work import SentPipeline, SentResume

Work = Callable[[OnBegin], object]


def first_time(
    call: Call, sent: SentPipeline, snapshot: Snapshot, why_end: Callable[[], str]
) -> Work:
    """The work that runs it. Raises what is wrong with it as it is written; the work raises what is
    wrong with its files, targets, models and images."""
    pipeline = _read(sent.pipeline)
    graph_of(pipeline)
    _check(call, pipeline)
    host = _host(call, sent.passed, why_end)
    workspace, actor = call.workspace, call.actor
    parallel = _parallel(sent.parallel, pipeline)

    def work(begin: OnBegin) -> None:
        run = _kept(workspace, sent.id, pipeline, snapshot, actor)
        begin(run)
        drive(workspace, run.id, parallel=parallel, reuse=sent.reuse, host=host)

    return work


def once_more(call: Call, run: RunRecord, sent: SentResume, why_end: Callable[[], str]) -> Work:
    """The work that goes on with it. Raises PipelineError, and as ``first_time``: what was allowed
    then may not be now."""
    workspace = call.workspace
    pipeline = check_resumable(workspace, run)
    require_sent(workspace.tracking.snapshots, run)
    _check(call, pipeline)
    host = _host(call, sent.passed, why_end)
    parallel = _parallel(sent.parallel, pipeline)

    def work(begin: OnBegin) -> None:
        """Who asked hears of it when it runs: before, it would see how the earlier round ended."""
        telling = replace(host, on_begin=begin)
        drive(workspace, run.id, parallel=parallel, reuse=sent.reuse, host=telling)
        begin(workspace.tracking.runs.get(run.id))  # one that was cancelled before it began

    return work


def _kept(
    workspace: Workspace, id: str, pipeline: PipelineSpec, snapshot: Snapshot, actor: str
) -> RunRecord:
    """The run, with all that it needs; of a service that was killed over this, the same run."""
    tracking = workspace.tracking
    try:
        run = tracking.runs.get(id)
    except NotFoundError:
        with laid_out(workspace, snapshot) as folder:
            placed = msgspec.structs.replace(pipeline, folder=str(folder))
            check_surroundings(placed, workspace)
        run = keep(workspace, pipeline, by=actor, id=id)
    if sent_files(tracking.snapshots, run) is None:
        tracking.snapshots.keep_stored(run.id, snapshot, config="{}")
    return run


def _read(document: str) -> PipelineSpec:
    try:
        return msgspec.json.decode(document, type=PipelineSpec)
    except (msgspec.DecodeError, RecursionError) as error:
        raise BadValueError(f"the pipeline cannot be read: {error}") from error


def _check(call: Call, pipeline: PipelineSpec) -> None:
    """What a client may not name. Raises BadPipelineError, InvalidSourceError, Fault 403."""
    check_contained(pipeline)
    for step in pipeline.steps:
        if isinstance(step, ScriptStep):
            check_local_code(call, call.workspace.targets.get(step.config.target))
        elif isinstance(step, ImageStep) and step.base:
            check_base(step.base, allows_engine=allows_engine(call))
        elif isinstance(step, DeployStep):
            check_local_code(call, call.workspace.targets.get(step.target))
            check_settings(call, _before(call, step), step.service)


def _before(call: Call, step: DeployStep) -> ServiceSettings:
    try:
        return call.workspace.deployments.get(made_name(step)).service
    except NotFoundError:
        return ServiceSettings()


def _host(call: Call, passed: Mapping[str, str], why_end: Callable[[], str]) -> Host:
    return Host(
        environment=check_passed(passed),
        actor=call.actor,
        only_public=not call.site.allows_internal,
        stands_in=False,
        why_end=why_end,
    )


def _parallel(asked: int | None, pipeline: PipelineSpec) -> int:
    wanted = pipeline.parallel if asked is None else asked
    if wanted < 1:
        raise BadValueError(f"parallel must be at least 1, not {wanted}")
    return min(MOST, wanted)
