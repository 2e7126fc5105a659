"""``inferry activity resume``: what failed or was cancelled, once more, as it was begun."""

from __future__ import annotations

import os
import shlex
from pathlib import Path

import click

from runtime.cli.activity_records import record
from runtime.cli.command_line import again
from runtime.cli.output import output_option, print_record
from runtime.cli.progress import activity_progress
from runtime.cli.text import printable
from runtime.cli.workspace import is_url, open_workspace, workspace_option
from runtime.errors import BadValueError


@click.command()
@click.argument("ref", metavar="ID")
@output_option
@workspace_option
@click.pass_context
def resume(ctx: click.Context, ref: str, output: str, workspace_dir: str | None) -> None:
    """Begin an activity that failed or was cancelled again, as it was begun.

    With the same arguments, in the same folder; by a service's URL, with the files that were
    uploaded. What it had finished is found and not done again: layers of an image, blobs that were
    sent. It is a new activity, and it prints and returns what its command does."""
    if is_url(workspace_dir):
        _resume_there(ctx, ref, output, str(workspace_dir))
    else:
        _resume_here(ctx, ref, output, workspace_dir)


def _resume_there(ctx: click.Context, ref: str, output: str, url: str) -> None:
    from runtime.remote import RemoteWorkspace

    with RemoteWorkspace(url) as workspace:
        started = workspace.activities.resume(ref)
        ended = workspace.activities.followed(started, activity_progress(output))
    print_record(record(ended), output)
    if ended.state != "succeeded":
        click.echo(f"inferry: {ended.state}: {printable(ended.cause or '')}", err=True)
        ctx.exit(1)


def _resume_here(ctx: click.Context, ref: str, output: str, workspace_dir: str | None) -> None:
    from registry.activities.origin import CommandOrigin, resuming
    from runtime.cli.main import run

    with open_workspace(workspace_dir) as workspace:
        id, root = workspace.activities.get(ref).id, workspace.root
        origin = workspace.activities.origin(id)
    if not isinstance(origin, CommandOrigin):
        raise BadValueError(
            f"a client of the service began activity {id}; resume it by the service's URL:"
            f" inferry activity resume {id} -w URL"
        )
    if output != "json":
        click.echo(f"Resuming in {origin.folder}: inferry {shlex.join(origin.words)}", err=True)
    options = ["--workspace", str(root), *(["--output", "json"] if output == "json" else [])]
    before = Path.cwd()
    try:
        os.chdir(origin.folder)
    except OSError as error:
        raise BadValueError(
            f"the folder where activity {id} was begun cannot be entered: {error.strerror}"
        ) from error
    try:
        with resuming(id):
            code = run(again(origin.words, *options))
    finally:
        os.chdir(before)
    ctx.exit(code)
