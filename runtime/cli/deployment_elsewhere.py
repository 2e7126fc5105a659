"""Deployments of a workspace behind a URL: an ``inferry up`` beside the service keeps them, and
commands here follow it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, cast

import click

if TYPE_CHECKING:
    from registry import Workspace
    from runtime.remote.deployments import RemoteDeployments


class Following:
    """In the place of a controller of its own, and of its activity: says what changes."""

    was_needed = False

    def __init__(self, output: str) -> None:
        self._is_talking = output != "json"

    @property
    def activity(self) -> Following:
        """Itself."""
        return self

    def look(self) -> None:
        """There is nothing to do here."""

    def log(self, line: str) -> None:
        """The service has its own."""

    def phase(self, name: str, total: int | None = None) -> None:
        """Say it."""
        if self._is_talking:
            click.echo(name, err=True)

    def check(self) -> None:
        """Ctrl-C ends the command, and nothing else does."""


def elsewhere(workspace: Workspace) -> RemoteDeployments | None:
    """The deployments of a workspace behind a URL; None: the workspace is here."""
    from registry.deployments import Deployments

    found = workspace.deployments
    return None if isinstance(found, Deployments) else cast("RemoteDeployments", found)


def reader_of(workspace: Workspace, name: str) -> Callable[[str, int], str] | None:
    """What reads the last lines of a replica; None: the workspace is here."""
    found = elsewhere(workspace)
    return None if found is None else lambda id, lines: found.logs(name, id, lines)
