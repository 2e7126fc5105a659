"""``inferry init``."""

from __future__ import annotations

import os
from pathlib import Path

import click

from runtime.cli.output import output_option, print_done
from runtime.cli.workspace import DEFAULT_NAME, is_url
from runtime.errors import BadValueError


@click.command()
@click.argument("directory", metavar="[DIR]", required=False, type=click.Path(path_type=Path))
@click.option(
    "--base",
    envvar="INFERRY_BASE",
    metavar="REF",
    help="What the workspace's images start from, see inferry image create."
    " [default: $INFERRY_BASE, else python:3.11-slim]",
)
@output_option
def init(directory: Path | None, base: str | None, output: str) -> None:
    """Make a workspace, or change the base of one.

    DIR is the workspace folder itself. Default: $INFERRY_WORKSPACE, else ./.inferry, which the
    other commands find from any folder below."""
    from registry import Workspace

    if directory is None and is_url(os.environ.get("INFERRY_WORKSPACE")):
        raise BadValueError("$INFERRY_WORKSPACE is a service's URL; name the folder to make")
    target = directory or Path(os.environ.get("INFERRY_WORKSPACE") or DEFAULT_NAME)
    with Workspace.init(target, base=base):
        where = str(target.resolve())
        print_done({"path": where}, f"Workspace {where}", output)
