"""``inferry run files|download``."""

from __future__ import annotations

from pathlib import Path

import click

from runtime.cli.output import Record, output_option, print_done, print_records
from runtime.cli.run_records import FILE_COLUMNS, file_record
from runtime.cli.workspace import open_workspace, workspace_option


@click.command()
@click.argument("ref", metavar="RUN")
@click.argument("folder", default="")
@output_option
@workspace_option
def files(ref: str, folder: str, output: str, workspace_dir: str | None) -> None:
    """List the files of a run, or those below FOLDER."""
    with open_workspace(workspace_dir) as workspace:
        found = workspace.tracking.runs.get(ref)
        listed = workspace.tracking.files.list(found.id, folder)
    print_records([file_record(file) for file in listed], FILE_COLUMNS, output)


@click.command()
@click.argument("ref", metavar="RUN")
@click.argument("target", metavar="DIR", type=click.Path(path_type=Path))
@click.option("--path", default="", help="Only this file, or those below this folder.")
@click.option("--force", is_flag=True, help="Overwrite files that are there.")
@output_option
@workspace_option
def download(
    ref: str, target: Path, path: str, force: bool, output: str, workspace_dir: str | None
) -> None:
    """Write a run's files, every byte verified, below the folder DIR."""
    with open_workspace(workspace_dir) as workspace:
        found = workspace.tracking.runs.get(ref)
        written = workspace.tracking.files.download(found.id, target, folder=path, force=force)
    known: Record = {"path": str(target), "files": len(written)}
    print_done(known, f"Wrote {len(written)} files to {target}", output)
