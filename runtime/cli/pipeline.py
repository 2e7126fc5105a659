"""``inferry pipeline ...``."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, NoReturn, TypeVar, cast

import click

from runtime.cli.output import Json, output_option, print_done, print_json, print_records
from runtime.cli.pipeline_progress import told
from runtime.cli.progress import progress
from runtime.cli.run_records import duration, moment
from runtime.cli.run_records import record as run_record
from runtime.cli.text import one_line, printable, printable_lines
from runtime.cli.values import pairs
from runtime.cli.workspace import open_workspace, workspace_option
from runtime.errors import InferryError

if TYPE_CHECKING:
    from registry import Workspace
    from registry.tracking import RunRecord
    from runtime.pipelines import PipelineView, StepView
    from runtime.remote import RemoteWorkspace

F = TypeVar("F", bound=Callable[..., object])
LIST_COLUMNS = ("run", "pipeline", "status", "steps", "started_at", "duration", "parameters")
STEP_COLUMNS = ("step", "kind", "target", "state", "run", "duration", "made", "note")


@click.group()
def pipeline() -> None:
    """Run pipelines: train, register, package, deploy, unattended.

    A RUN is EXPERIMENT:NUMBER, or an id or the beginning of one."""


def _how_options(command: F) -> F:
    for option in (
        click.option(
            "--detach", is_flag=True, help="Go on in the background; see inferry pipeline show."
        ),
        click.option("--no-reuse", is_flag=True, help="Do all steps, though nothing has changed."),
        click.option(
            "--parallel",
            type=click.IntRange(1, 256),
            help="How many steps run at once. [default: as the file says, else 4]",
        ),
    ):
        command = option(command)
    return command


@pipeline.command("run")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option(
    "--set", "values", multiple=True, metavar="NAME=VALUE", help="A parameter; may repeat."
)
@_how_options
@output_option
@workspace_option
@click.pass_context
def run_pipeline(
    ctx: click.Context,
    file: Path,
    values: tuple[str, ...],
    parallel: int | None,
    no_reuse: bool,
    detach: bool,
    output: str,
    workspace_dir: str | None,
) -> None:
    """Run the pipeline of FILE (YAML or JSON) until it has ended.

    Whatever ends this process, inferry pipeline resume goes on where it was."""
    from runtime.pipelines.elsewhere import run_elsewhere
    from runtime.pipelines.here import prepare
    from runtime.pipelines.reading import read_spec
    from runtime.submission.elsewhere import remote_of

    read = read_spec(file, pairs(values, "parameter"))
    with open_workspace(workspace_dir) as workspace:
        if (remote := remote_of(workspace)) is not None:
            with progress("Uploading", output) as shown:
                run = run_elsewhere(
                    remote,
                    read,
                    environment=os.environ,
                    parallel=parallel,
                    reuse=not no_reuse,
                    on_progress=shown,
                )
            _follow(ctx, remote, run, detach, output)
            return
        made = prepare(workspace, read)
        _go(ctx, workspace, made, parallel, no_reuse, detach, output)


@pipeline.command()
@click.argument("ref", metavar="RUN")
@_how_options
@output_option
@workspace_option
@click.pass_context
def resume(
    ctx: click.Context,
    ref: str,
    parallel: int | None,
    no_reuse: bool,
    detach: bool,
    output: str,
    workspace_dir: str | None,
) -> None:
    """Go on with a run that was killed, cancelled or has failed; what is done stays done."""
    from runtime.pipelines import pipeline_view
    from runtime.pipelines.elsewhere import resume_elsewhere
    from runtime.submission.elsewhere import remote_of

    with open_workspace(workspace_dir) as workspace:
        if (remote := remote_of(workspace)) is not None:
            before = pipeline_view(workspace, ref)
            run = resume_elsewhere(
                remote, ref, environment=os.environ, parallel=parallel, reuse=not no_reuse
            )
            _follow(ctx, remote, run, detach, output, before)
            return
        found = workspace.tracking.runs.get(ref)
        _go(ctx, workspace, found, parallel, no_reuse, detach, output)


@pipeline.command("list")
@click.argument("name", required=False)
@click.option(
    "--limit", type=click.IntRange(1, 1000), default=20, show_default=True, help="At most."
)
@output_option
@workspace_option
def list_runs(name: str | None, limit: int, output: str, workspace_dir: str | None) -> None:
    """List runs of pipelines, or of the one called NAME, the newest first."""
    from registry.names import check_name
    from runtime.pipelines.records import PIPELINE

    tag = f"tags.`{PIPELINE}`"
    wanted = f"{tag} IS NOT NULL" if name is None else f"{tag} = '{check_name(name)}'"
    with open_workspace(workspace_dir) as workspace:
        found = workspace.tracking.runs.search(filter=wanted, limit=limit).runs
        rows = [_overview(workspace, run) for run in found]
    print_records(rows, LIST_COLUMNS, output)


@pipeline.command()
@click.argument("ref", metavar="RUN")
@output_option
@workspace_option
def show(ref: str, output: str, workspace_dir: str | None) -> None:
    """Show a run of a pipeline, and how each step is."""
    from runtime.pipelines import pipeline_view

    with open_workspace(workspace_dir) as workspace:
        _print_view(pipeline_view(workspace, ref), output)


@pipeline.command()
@click.argument("ref", metavar="RUN")
@output_option
@workspace_option
def cancel(ref: str, output: str, workspace_dir: str | None) -> None:
    """Ask for the end of all steps that run; nothing begins any more."""
    from runtime.pipelines.here import cancel as cancel_run

    with open_workspace(workspace_dir) as workspace:
        found = cancel_run(workspace, ref)
    print_done(run_record(found), f"Asked for the end of {found.reference}", output)


def _follow(
    ctx: click.Context,
    remote: RemoteWorkspace,
    run: RunRecord,
    detach: bool,
    output: str,
    before: PipelineView | None = None,
) -> None:
    """One that the service carries out. ``before``: how it was before it was resumed."""
    from runtime.pipelines.elsewhere import follow_elsewhere

    if detach:
        said = f"{run.reference} goes on there; see inferry pipeline show {run.reference}"
        print_done(run_record(run), said, output)
        return
    if output != "json":
        click.echo(f"{run.reference}: pipeline {printable(run.name)}", err=True)
    with _sigterm(), told(output) as tell:
        view = follow_elsewhere(remote, run, tell, before=before)
    _end(ctx, cast("Workspace", remote), view, output)


def _go(
    ctx: click.Context,
    workspace: Workspace,
    run: RunRecord,
    parallel: int | None,
    no_reuse: bool,
    detach: bool,
    output: str,
) -> None:
    from runtime.pipelines.here import check_resumable, drive

    check_resumable(workspace, run)
    if detach:
        _detach(workspace, run, parallel, no_reuse)
        said = f"{run.reference} goes on in the background"
        said += f"; see inferry pipeline show {run.reference}"
        print_done(run_record(run), said, output)
        return
    if output != "json":
        click.echo(f"{run.reference}: pipeline {printable(run.name)}", err=True)
    with _sigterm(), told(output) as tell:
        view = drive(workspace, run.id, parallel=parallel, reuse=not no_reuse, on_event=tell)
    _end(ctx, workspace, view, output)


def _end(ctx: click.Context, workspace: Workspace, view: PipelineView, output: str) -> None:
    """How it ended, and whether that is well."""
    from runtime.pipelines.errors import PipelineFailedError
    from runtime.pipelines.here import raise_if_failed

    _print_view(view, output)
    try:
        raise_if_failed(workspace, view)
    except PipelineFailedError as error:
        if error.log and output != "json":
            click.echo(printable_lines(error.log), err=True)
        again = f"go on with: inferry pipeline resume {view.run}"
        click.echo(f"inferry: {one_line(str(error))}; {again}", err=True)
        ctx.exit(1)


def _detach(workspace: Workspace, run: RunRecord, parallel: int | None, no_reuse: bool) -> None:
    """In a session of its own, which no terminal ends. What happens is in the run's log."""
    command = [sys.executable, "-m", "runtime.cli.main", "pipeline", "resume", run.id]
    command += ["--workspace", str(workspace.root)]
    command += [] if parallel is None else ["--parallel", str(parallel)]
    command += ["--no-reuse"] if no_reuse else []
    subprocess.run(
        ["/bin/sh", "-c", '"$@" &', "sh", *command],  # a shell that ends leaves no child of ours
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        cwd="/",
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        check=True,
    )


@contextmanager
def _sigterm() -> Iterator[None]:
    """SIGTERM is a Ctrl-C for the block."""

    def interrupt(number: int, frame: FrameType | None) -> NoReturn:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _print_view(view: PipelineView, output: str) -> None:
    if output == "json":
        print_json(view_record(view))
        return
    now_ms = time.time_ns() // 1_000_000
    took = duration((view.ended_ms or now_ms) - view.started_ms)
    click.echo(f"{view.run}: pipeline {printable(view.name)}, {view.status}, {took}")
    if view.cause:
        click.echo(f"cause: {printable(view.cause)}")
    for name, value in view.parameters.items():
        click.echo(f"{name} = {printable(value)}")
    print_records([_step_row(step, now_ms) for step in view.steps], STEP_COLUMNS, output)


def view_record(view: PipelineView) -> dict[str, Json]:
    """A run of a pipeline as JSON has it."""
    return {
        "run": view.run,
        "id": view.run_id,
        "pipeline": view.name,
        "status": view.status,
        "cause": view.cause,
        "parameters": dict(view.parameters),
        "started_at": moment(view.started_ms),
        "ended_at": None if view.ended_ms is None else moment(view.ended_ms),
        "steps": [_step_record(step) for step in view.steps],
    }


def _step_record(step: StepView) -> dict[str, Json]:
    return {
        "step": step.name,
        "kind": step.kind,
        "target": step.target or None,
        "needs": list(step.needs),
        "state": step.state,
        "run": step.run,
        "id": step.run_id,
        "reused_from": step.reused_from,
        "tries": step.tries,
        "cause": step.cause,
        "started_at": None if step.started_ms is None else moment(step.started_ms),
        "ended_at": None if step.ended_ms is None else moment(step.ended_ms),
        "made": step.made or None,
        "digest": step.digest or None,
        "url": step.url or None,
    }


def _step_row(step: StepView, now_ms: int) -> dict[str, Json]:
    note = step.cause or ""
    if step.reused_from is not None:
        note = f"reused from {step.reused_from}"
    elif step.tries > 1:
        note = f"{step.tries} tries{note and ': '}{note}"
    took = ""
    if step.started_ms is not None and step.state != "reused":
        took = duration((step.ended_ms or now_ms) - step.started_ms)
    made = f"{step.made} {step.url}".strip()
    return {**_step_record(step), "duration": took, "made": made, "note": note}


def _overview(workspace: Workspace, run: RunRecord) -> dict[str, Json]:
    from runtime.pipelines import pipeline_view
    from runtime.pipelines.records import PIPELINE

    try:
        view = pipeline_view(workspace, run.id)
        steps = f"{view.count('finished', 'reused')}/{len(view.steps)}"
    except InferryError:  # it has lost its file, and can still be named
        steps = "?"
    now_ms = time.time_ns() // 1_000_000
    return {
        "run": run.reference,
        "id": run.id,
        "pipeline": run.tags.get(PIPELINE),
        "status": run.status,
        "cause": run.cause,
        "steps": steps,
        "started_at": moment(run.started_ms),
        "ended_at": None if run.ended_ms is None else moment(run.ended_ms),
        "duration": duration((run.ended_ms or now_ms) - run.started_ms),
        "parameters": dict(run.params),
    }
