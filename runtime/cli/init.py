"""``inferry init``."""

from __future__ import annotations

import os
from pathlib import Path

import click

from runtime.cli.workspace import DEFAULT_NAME


@click.command()
@click.argument("directory", metavar="[DIR]", required=False, type=click.Path(path_type=Path))
def init(directory: Path | None) -> None:
    """Make a workspace.

    DIR is the workspace folder itself. Default: $INFERRY_WORKSPACE, else ./.inferry, which the
    other commands find from any folder below."""
    from registry import Workspace

    target = directory or Path(os.environ.get("INFERRY_WORKSPACE") or DEFAULT_NAME)
    with Workspace.init(target):
        click.echo(f"Workspace {target.resolve()}")
