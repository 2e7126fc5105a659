"""Which workspace a command works on: --workspace, else $INFERRY_WORKSPACE, else the nearest
.inferry folder at or above the current one. A URL is the workspace of a service."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar, cast

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
        envvar="INFERRY_WORKSPACE",
        metavar="DIR|URL",
        help="The workspace folder, or a service's URL."
        " [default: $INFERRY_WORKSPACE, else .inferry here or above]",
    )
    return option(command)


def open_workspace(workspace_dir: str | Path | None) -> Workspace:
    """The workspace, to be used in a ``with`` block.

    That of a service has the same attributes, whose methods are called in the same way (a test
    compares them); without a folder, its ``root`` raises BadValueError."""
    from registry import Workspace  # loaded by the commands that need it, not by --help

    if workspace_dir is None:
        return Workspace.find()
    if is_url(workspace_dir):
        from runtime.remote import RemoteWorkspace  # httpx: 0.2 s

        return cast(Workspace, RemoteWorkspace(str(workspace_dir)))
    return Workspace.open(workspace_dir)


def is_url(workspace_dir: str | Path | None) -> bool:
    """Whether it is a service's."""
    return str(workspace_dir).lower().startswith(("http://", "https://"))
