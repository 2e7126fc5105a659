"""Which workspace a command works on: --workspace, else $INFERRY_WORKSPACE, else the nearest
.inferry folder at or above the current one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import click

if TYPE_CHECKING:
    from registry import Workspace

DEFAULT_NAME = ".inferry"
F = TypeVar("F", bound=Callable[..., object])


def workspace_option(command: F) -> F:
    """Adds ``--workspace`` to a command, which receives it as ``workspace_dir``."""
    option = click.option(
        "--workspace",
        "-w",
        "workspace_dir",
        type=click.Path(path_type=Path),
        envvar="INFERRY_WORKSPACE",
        metavar="DIR",
        help="The workspace folder. [default: $INFERRY_WORKSPACE, else .inferry here or above]",
    )
    return option(command)


def open_workspace(workspace_dir: Path | None) -> Workspace:
    """The workspace, to be used in a ``with`` block."""
    from registry import Workspace  # loaded by the commands that need it, not by --help

    if workspace_dir is not None:
        return Workspace.open(workspace_dir)
    return Workspace.find()
