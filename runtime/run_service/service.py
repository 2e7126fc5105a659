"""The port of runtime/workspace_service/work.py, in reality: what clients send is run here, by the
user that serves."""

from __future__ import annotations

from collections.abc import Mapping

from registry import Workspace
from registry.deployments import Target
from registry.errors import NotFoundError, TargetExistsError
from registry.tracking import RunRecord
from registry.tracking.words import check_experiment, check_id
from runtime.errors import BadValueError
from runtime.pipelines.records import is_pipeline
from runtime.run_service import pipelines
from runtime.run_service.jobs import OnBegin, RunJobs
from runtime.run_service.sent import check_passed, snapshot_sent
from runtime.submission import attaching
from runtime.submission.config import config_again, from_document
from runtime.submission.hearing import Hearing, Wanted
from runtime.submission.preparing import Prepared, prepare_stored
from runtime.submission.rerunning import prepare_again
from runtime.submission.submission import carry_out
from runtime.workspace_service.call import Call
from runtime.workspace_service.own_machine import check_local_code
from runtime.workspace_service.site import Site
from runtime.workspace_service.work import SentAgain, SentPipeline, SentResume, SentRun

ENDED = "the service ended"
"""Why a run failed that was under way then."""


class RunService:
    """For one site."""

    def __init__(self, site: Site) -> None:
        self._closing = site.closing
        self._jobs = RunJobs()

    def submit(self, call: Call, sent: SentRun) -> RunRecord:
        """As Work.submit."""
        check_id(sent.id)
        check_experiment(sent.experiment)
        config = from_document(sent.config)
        workspace = call.workspace
        check_local_code(call, workspace.targets.get(config.target))
        inputs = {
            name: snapshot_sent(call, files, may_be_empty=True)
            for name, files in sent.inputs.items()
        }
        prepared = prepare_stored(
            workspace,
            config,
            snapshot_sent(call, sent.files),
            inputs=inputs,
            environment=check_passed(sent.passed),
            revision=sent.revision,
        )
        wanted = Wanted(sent.experiment, sent.name, sent.parent, sent.tags, sent.properties)
        return self._begun(call, sent.id, prepared, wanted)

    def rerun(self, call: Call, sent: SentAgain) -> RunRecord:
        """As Work.rerun."""
        check_id(sent.id)
        workspace = call.workspace
        before = workspace.tracking.runs.get(sent.ref)
        if is_pipeline(before):
            raise BadValueError(f"{before.reference} is a pipeline's run: inferry pipeline resume")
        submission = workspace.tracking.snapshots.of_run(before.id)
        config = config_again(submission.config, sent.target)
        check_local_code(call, workspace.targets.get(config.target))
        prepared, wanted = prepare_again(
            workspace, before, sent.target, sent.name, check_passed(sent.passed)
        )
        return self._begun(call, sent.id, prepared, wanted)

    def attach(
        self, call: Call, name: str, kind: str, settings: Mapping[str, str], *, is_asked: bool
    ) -> tuple[Target, str]:
        """As Work.attach."""
        targets = call.workspace.targets
        return attaching.attach(targets, name, kind, settings, is_asked=is_asked)

    def run_pipeline(self, call: Call, sent: SentPipeline) -> RunRecord:
        """As Work.run_pipeline."""
        check_id(sent.id)
        snapshot = snapshot_sent(call, sent.files, may_be_empty=True)
        work = pipelines.first_time(call, sent, snapshot, self._why_end)
        workspace, actor = call.workspace, call.actor

        def find() -> RunRecord | None:
            """One that is yet to begin was cut short by the end of a service."""
            run = _found(workspace, sent.id, actor)
            return None if run is not None and run.status == "scheduled" else run

        return self._jobs.start(f"{call.workspace_name}/{sent.id}", work, find)

    def resume_pipeline(self, call: Call, sent: SentResume) -> RunRecord:
        """As Work.resume_pipeline; one that goes on here already just goes on."""
        run = call.workspace.tracking.runs.get(sent.ref)
        key = f"{call.workspace_name}/{run.id}"
        if not run.has_ended and self._jobs.has(key):
            return run
        return self._jobs.start(key, pipelines.once_more(call, run, sent, self._why_end))

    def close(self) -> None:
        """As Work.close; the site is closing."""
        self._jobs.close()

    def _begun(self, call: Call, id: str, prepared: Prepared, wanted: Wanted) -> RunRecord:
        workspace, actor = call.workspace, call.actor

        def work(begin: OnBegin) -> None:
            carry_out(
                workspace,
                prepared,
                wanted,
                Hearing(begin=begin),
                user=actor,
                id=id,
                why_end=self._why_end,
                is_bare=True,
            )

        return self._jobs.start(
            f"{call.workspace_name}/{id}", work, lambda: _found(workspace, id, actor)
        )

    def _why_end(self) -> str:
        return ENDED if self._closing.is_set() else ""


def _found(workspace: Workspace, id: str, actor: str) -> RunRecord | None:
    """The run of this client that was begun before. Raises TargetExistsError for another's."""
    try:
        run = workspace.tracking.runs.get(id)
    except NotFoundError:
        return None
    if run.id != id or run.user != actor:
        raise TargetExistsError(f"there is a run {id} already")
    return run
