"""``inferry purge``."""

from __future__ import annotations

import click

from runtime.cli.command_line import begun_here
from runtime.cli.output import output_option, print_json
from runtime.cli.progress import activity_progress
from runtime.cli.text import size
from runtime.cli.workspace import open_workspace, workspace_option


@click.command()
@click.option("--dry-run", is_flag=True, help="Only say what would be freed.")
@output_option
@workspace_option
def purge(dry_run: bool, output: str, workspace_dir: str | None) -> None:
    """Free the space of files that nothing uses any more.

    Deleting a model or image removes its record at once and its files here. Files that a
    registration is writing just now are left alone. It is an activity, which can be cancelled: what
    is freed by then stays so."""
    with open_workspace(workspace_dir) as workspace, begun_here():
        report = workspace.purge(dry_run=dry_run, on_change=activity_progress(output))
    if output == "json":
        print_json({"blobs": report.blobs, "size_bytes": report.size_bytes, "dry_run": dry_run})
        return
    verb = "Would free" if dry_run else "Freed"
    click.echo(f"{verb} {size(report.size_bytes)} in {report.blobs} files")
