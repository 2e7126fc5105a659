"""Pipelines that the service carries out. Their files are uploaded first (``uploads.put``), and
stay with the run, so that it can be resumed. A run of one is a run as others are: ``runs.get``,
``runs.children``, ``runs.cancel``, and ``pipeline.json`` among its files."""

from __future__ import annotations

from registry.tracking import RunRecord
from runtime.workspace_service.call import Call
from runtime.workspace_service.route import Route
from runtime.workspace_service.sent_file import SentFile
from runtime.workspace_service.work import SentPipeline, SentResume


def run(
    call: Call,
    *,
    id: str,
    pipeline: str,
    files: tuple[SentFile, ...] = (),
    passed: dict[str, str] | None = None,
    parallel: int | None = None,
    reuse: bool = True,
) -> RunRecord:
    """Run a pipeline: a JSON document with its parameters in place, whose paths are those of
    ``files``. ``passed`` has the values of variables that its scripts are passed."""
    sent = SentPipeline(id, pipeline, files, passed or {}, parallel, reuse)
    return call.site.work.run_pipeline(call, sent)


def resume(
    call: Call,
    *,
    ref: str,
    passed: dict[str, str] | None = None,
    parallel: int | None = None,
    reuse: bool = True,
) -> RunRecord:
    """Go on with a pipeline that was killed, cancelled or has failed; what is done stays done."""
    sent = SentResume(ref, passed or {}, parallel, reuse)
    return call.site.work.resume_pipeline(call, sent)


ROUTES = (
    Route("POST", "/pipeline-runs", "pipelines.run", "contributor", run, status=201),
    Route("POST", "/pipeline-runs/{ref}/resume", "pipelines.resume", "contributor", resume),
)
