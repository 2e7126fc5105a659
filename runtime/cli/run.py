"""``inferry run ...``."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from runtime.cli.output import output_option, print_done, print_json, print_record, print_records
from runtime.cli.run_files import download, files
from runtime.cli.run_records import (
    COLUMNS,
    METRIC_COLUMNS,
    environment_record,
    for_people,
    lines_record,
    metric_record,
    moment,
    number,
    overview,
    record,
)
from runtime.cli.run_submit import rerun, snapshot, submit
from runtime.cli.text import printable_lines
from runtime.cli.values import pairs
from runtime.cli.workspace import open_workspace, workspace_option

if TYPE_CHECKING:
    from registry import Workspace
    from registry.tracking import View

FOLLOW_S = 0.5
MAX_CHART_POINTS = 1000


@click.group()
def run() -> None:
    """Submit runs and see them: what was trained, how it went, and what it made.

    A RUN is EXPERIMENT:NUMBER, or an id or the beginning of one."""


@run.command("list")
@click.argument("experiment", required=False)
@click.option(
    "--filter",
    "-f",
    "condition",
    default="",
    metavar="CONDITION",
    help="Such as \"metrics.loss < 0.1 and params.depth = '3'\".",
)
@click.option("--order-by", multiple=True, metavar="FIELD [ASC|DESC]", help="May repeat.")
@click.option(
    "--limit",
    type=click.IntRange(1, 50_000),
    default=50,
    show_default=True,
    help="So many at most.",
)
@click.option("--page", metavar="TOKEN", help="What the page before named.")
@click.option("--deleted", is_flag=True, help="Those that were deleted.")
@output_option
@workspace_option
def list_runs(
    experiment: str | None,
    condition: str,
    order_by: tuple[str, ...],
    limit: int,
    page: str | None,
    deleted: bool,
    output: str,
    workspace_dir: str | None,
) -> None:
    """List runs, the newest first."""
    with open_workspace(workspace_dir) as workspace:
        tracking = workspace.tracking
        view: View = "deleted" if deleted else "active"
        found = tracking.runs.search(
            experiments=None if experiment is None else [tracking.experiments.get(experiment).id],
            filter=condition,
            order_by=order_by,
            view=view,
            limit=limit,
            token=page,
        )
    now_ms = time.time_ns() // 1_000_000
    rows = [record(each) if output == "json" else overview(each, now_ms) for each in found.runs]
    print_records(rows, COLUMNS, output)
    if found.next_token is not None:
        click.echo(f"There are more: --page {found.next_token}", err=True)


@run.command()
@click.argument("ref", metavar="RUN")
@click.option("--environment", is_flag=True, help="With the packages that were installed.")
@output_option
@workspace_option
def show(ref: str, environment: bool, output: str, workspace_dir: str | None) -> None:
    """Show all that is known of a run."""
    with open_workspace(workspace_dir) as workspace:
        tracking = workspace.tracking
        found = tracking.runs.get(ref)
        shown = (
            record(found) if output == "json" else for_people(found, time.time_ns() // 1_000_000)
        )
        shown["values"] = sorted({f"{v.key} ({v.kind})" for v in tracking.metrics.values(found.id)})
        shown["files"] = [file.path for file in tracking.files.list(found.id)]
        shown["children"] = [child.reference for child in tracking.runs.children(found.id)]
        shown["used_by"] = lines_record(workspace.lineage.of_run(found.id))["used_by"]
        if found.environment is not None and environment:
            shown["environment"] = environment_record(tracking.runs.environment(found.environment))
    print_record(shown, output)


@run.command()
@click.argument("ref", metavar="RUN")
@click.argument("metric", required=False)
@click.option("--points", type=click.IntRange(1, 10_000), help="About so many points of it.")
@output_option
@workspace_option
def metrics(
    ref: str, metric: str | None, points: int | None, output: str, workspace_dir: str | None
) -> None:
    """List the metrics of a run, or the values of one METRIC."""
    with open_workspace(workspace_dir) as workspace:
        tracking = workspace.tracking
        found = tracking.runs.get(ref)
        if metric is None:
            rows = [{"metric": key, **metric_record(each)} for key, each in found.metrics.items()]
            print_records(rows, METRIC_COLUMNS, output)
        elif points is not None:
            chart = tracking.metrics.chart(found.id, metric, points)
            columns = ("step", "at", "count", "value", "min", "max")
            print_records(
                [
                    {
                        "step": p.step,
                        "at": moment(p.at_ms),
                        "count": p.count,
                        "value": number(p.value),
                        "min": number(p.min),
                        "max": number(p.max),
                    }
                    for p in chart
                ],
                columns,
                output,
            )
        else:
            history = tracking.metrics.history(found.id, metric)
            print_records(
                [
                    {"step": p.step, "at": moment(p.at_ms), "value": number(p.value)}
                    for p in history
                ],
                ("step", "at", "value"),
                output,
            )


@run.command()
@click.argument("ref", metavar="RUN")
@click.argument("name")
@workspace_option
def value(ref: str, name: str, workspace_dir: str | None) -> None:
    """Print a list, table, confusion matrix and so on of a run as JSON."""
    from runtime.tracking.logged import joined

    with open_workspace(workspace_dir) as workspace:
        found = workspace.tracking.runs.get(ref)
        logged = workspace.tracking.metrics.values(found.id, name)
    if not logged:
        raise click.ClickException(f"run {found.reference} has no such value; see inferry run show")
    print_json(joined(logged))


@run.command()
@click.argument("ref", metavar="RUN")
@click.option("--follow", "-f", is_flag=True, help="Go on until the run ends.")
@workspace_option
def log(ref: str, follow: bool, workspace_dir: str | None) -> None:
    """Print the log of a run."""
    with open_workspace(workspace_dir) as workspace:
        found = workspace.tracking.runs.get(ref)
        offset = _print_log(workspace, found.id, 0)
        while follow and not found.has_ended:
            time.sleep(FOLLOW_S)
            found = workspace.tracking.runs.get(found.id)
            offset = _print_log(workspace, found.id, offset)


@run.command()
@click.argument("ref", metavar="RUN")
@click.argument("tags", nargs=-1, metavar="[KEY=VALUE]...")
@click.option("--remove", multiple=True, metavar="KEY", help="Remove this tag; may repeat.")
@click.option(
    "--property",
    "properties",
    multiple=True,
    metavar="KEY=VALUE",
    help="Add this property; it can never change.",
)
@output_option
@workspace_option
def tag(
    ref: str,
    tags: tuple[str, ...],
    remove: tuple[str, ...],
    properties: tuple[str, ...],
    output: str,
    workspace_dir: str | None,
) -> None:
    """Set and remove tags of a run; add properties."""
    if not (tags or remove or properties):
        raise click.UsageError("say a KEY=VALUE to set, --remove KEY or --property KEY=VALUE")
    with open_workspace(workspace_dir) as workspace:
        runs = workspace.tracking.runs
        if properties:
            runs.add_properties(ref, pairs(properties, "property"))
        found = runs.tag(ref, set=pairs(tags, "tag"), remove=list(remove))
    print_done(record(found), f"Tagged {found.reference}", output)


@run.command()
@click.argument("ref", metavar="RUN")
@output_option
@workspace_option
def cancel(ref: str, output: str, workspace_dir: str | None) -> None:
    """Ask for the end of a run: of a submitted one its script is ended, others see it as
    run.is_cancelled."""
    with open_workspace(workspace_dir) as workspace:
        found = workspace.tracking.runs.cancel(ref)
    print_done(record(found), f"Asked for the end of {found.reference}", output)


@run.command()
@click.argument("ref", metavar="RUN")
@click.option("--forever", is_flag=True, help="Forget it for good; refused while it is used.")
@output_option
@workspace_option
def delete(ref: str, forever: bool, output: str, workspace_dir: str | None) -> None:
    """Hide a run; nothing is lost unless you say --forever."""
    with open_workspace(workspace_dir) as workspace:
        runs = workspace.tracking.runs
        found = runs.remove(ref) if forever else runs.delete(ref)
    how = "inferry purge frees its space" if forever else "inferry run restore brings it back"
    print_done(record(found), f"Deleted {found.reference}; {how}", output)


@run.command()
@click.argument("ref", metavar="RUN")
@output_option
@workspace_option
def restore(ref: str, output: str, workspace_dir: str | None) -> None:
    """Show a deleted run again."""
    with open_workspace(workspace_dir) as workspace:
        found = workspace.tracking.runs.restore(ref)
    print_done(record(found), f"Restored {found.reference}", output)


@run.command()
@click.argument("folder", type=click.Path(path_type=Path))
@output_option
def resend(folder: Path, output: str) -> None:
    """Send what a run could not send: FOLDER is what its script said at its end."""
    from runtime.tracking.sending import resend as send
    from runtime.tracking.starting import say

    sent = send(folder, os.environ, say)
    print_done({"id": sent}, f"Sent what was left of run {sent}", output)


run.add_command(files)
run.add_command(download)
run.add_command(submit)
run.add_command(rerun)
run.add_command(snapshot)


def _print_log(workspace: Workspace, id: str, offset: int) -> int:
    """Prints what there is from ``offset`` on, in whole lines; where the next begins."""
    while True:  # a service gives a part at a time
        data = workspace.tracking.log(id, offset)
        whole = data[: data.rfind(b"\n") + 1]
        if not whole:
            return offset
        click.echo(printable_lines(whole.decode(errors="backslashreplace")))
        offset += len(whole)
