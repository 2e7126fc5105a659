"""``inferry experiment ...``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from runtime.cli.output import Record, output_option, print_done, print_record, print_records
from runtime.cli.run_records import moment
from runtime.cli.workspace import open_workspace, workspace_option

if TYPE_CHECKING:
    from registry.tracking import Experiment

COLUMNS = ("name", "runs", "created_at", "updated_at", "tags")


@click.group()
def experiment() -> None:
    """See experiments, which runs belong to. One appears by itself when a run names it."""


@experiment.command("list")
@click.option("--deleted", is_flag=True, help="Those that were deleted.")
@output_option
@workspace_option
def list_experiments(deleted: bool, output: str, workspace_dir: str | None) -> None:
    """List the experiments, the newest first."""
    with open_workspace(workspace_dir) as workspace:
        found = workspace.tracking.experiments.list(view="deleted" if deleted else "active")
    shown = [record(item) for item in found if item.id != 0 or item.runs]
    print_records(shown, COLUMNS, output)


@experiment.command()
@click.argument("name")
@output_option
@workspace_option
def show(name: str, output: str, workspace_dir: str | None) -> None:
    """Show one experiment and its newest runs."""
    with open_workspace(workspace_dir) as workspace:
        found = workspace.tracking.experiments.get(name)
        page = workspace.tracking.runs.search(experiments=[found.id], limit=10)
    newest = [f"{run.reference}  {run.status}  {run.name}".rstrip() for run in page.runs]
    print_record({**record(found), "newest": newest}, output)


@experiment.command()
@click.argument("name")
@output_option
@workspace_option
def delete(name: str, output: str, workspace_dir: str | None) -> None:
    """Hide an experiment and its runs; nothing is lost, and its name stays taken."""
    with open_workspace(workspace_dir) as workspace:
        gone = workspace.tracking.experiments.delete(name)
    said = f"Deleted experiment {name!a}; inferry experiment restore brings it back"
    print_done(record(gone), said, output)


@experiment.command()
@click.argument("name")
@output_option
@workspace_option
def restore(name: str, output: str, workspace_dir: str | None) -> None:
    """Show a deleted experiment and its runs again."""
    with open_workspace(workspace_dir) as workspace:
        found = workspace.tracking.experiments.restore(name)
    print_done(record(found), f"Restored experiment {name!a}", output)


def record(item: Experiment) -> Record:
    """An experiment as JSON has it."""
    return {
        "name": item.name,
        "id": item.id,
        "runs": item.runs,
        "created_at": moment(item.created_ms),
        "updated_at": moment(item.updated_ms),
        "is_deleted": item.is_deleted,
        "tags": dict(item.tags),
    }
