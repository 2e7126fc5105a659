"""``inferry deployment logs``: what the replicas of a deployment printed."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

from runtime.cli.deployment_elsewhere import reader_of
from runtime.cli.deployment_records import replicas_of
from runtime.cli.text import printable
from runtime.cli.workspace import open_workspace, workspace_option
from runtime.errors import BadValueError

if TYPE_CHECKING:
    from registry import Workspace
    from registry.deployments import Deployment
    from runtime.deployments.logs import Read

LOOK_EVERY_S = 0.5
FOLLOWED_LINES = 2000
"""That a replica may print between two looks without a gap."""
MOST_DEVICES = 10


@click.command()
@click.argument("name")
@click.option("--follow", "-f", is_flag=True, help="Go on until Ctrl-C, or until it is gone.")
@click.option("--replica", metavar="ID", help="Only of this one; see inferry deployment show.")
@click.option(
    "--lines", type=click.IntRange(1, 5000), default=100, show_default=True, help="The last ones."
)
@workspace_option
def logs(
    name: str, follow: bool, replica: str | None, lines: int, workspace_dir: str | None
) -> None:
    """Print what the replicas of a deployment printed."""
    with open_workspace(workspace_dir) as workspace, _opened(workspace, name) as read:
        found = workspace.deployments.get(name)
        ids = _chosen(found, replica)
        if workspace.targets.get(found.target).kind == "edge":
            _check_devices(name, ids, follow)
        said = {id: read(id, FOLLOWED_LINES if follow else lines) for id in ids}
        is_named = len(ids) > 1 or (follow and replica is None)
        for id, text in said.items():
            shown = _whole(text) if follow else text.rstrip("\n").split("\n") if text else []
            _print(id, shown[-lines:], is_named)
        if not ids:
            click.echo(f"inferry: {name} has no replica now", err=True)
        if follow:
            _follow(workspace, name, replica, read, said, is_named)


@contextmanager
def _opened(workspace: Workspace, name: str) -> Iterator[Read]:
    if (read := reader_of(workspace, name)) is not None:
        yield read
        return
    from runtime.deployments.logs import logs_of

    with logs_of(workspace, name) as opened:
        yield opened


def news(before: Sequence[str], now: Sequence[str]) -> Sequence[str]:
    """The lines of ``now`` that came after ``before``, both the last lines of one log. Pure."""
    for gone in range(len(before) + 1):
        kept = len(before) - gone
        if kept <= len(now) and before[gone:] == now[:kept]:
            return now[kept:]
    return now


def _follow(
    workspace: Workspace,
    name: str,
    replica: str | None,
    read: Read,
    said: dict[str, str],
    is_named: bool,
) -> None:
    from registry.errors import NotFoundError

    while True:
        time.sleep(LOOK_EVERY_S)
        try:
            found = workspace.deployments.get(name)
        except NotFoundError:
            click.echo(f"inferry: {name} is gone", err=True)
            return
        for each in replicas_of(found):
            if replica is None or each.id == replica:
                text = read(each.id, FOLLOWED_LINES)
                _print(each.id, news(_whole(said.get(each.id, "")), _whole(text)), is_named)
                said[each.id] = text


def _chosen(found: Deployment, replica: str | None) -> list[str]:
    ids = [each.id for each in replicas_of(found)]
    if replica is None:
        return ids
    if replica not in ids:
        known = ", ".join(ids) or "none"
        raise BadValueError(f"{found.name} has no replica {replica[:60]!a}; there is {known}")
    return [replica]


def _check_devices(name: str, ids: Sequence[str], follow: bool) -> None:
    """Each is asked through the hub, and answers in its own time. Raises BadValueError."""
    if follow:
        raise BadValueError("devices are asked once; leave --follow out, and ask again")
    if len(ids) > MOST_DEVICES:
        raise BadValueError(f"{name} is on {len(ids)} devices; name one with --replica DEVICE")


def _whole(text: str) -> list[str]:
    """Without a line that is still being written."""
    return text.split("\n")[:-1]


def _print(id: str, lines: Sequence[str], is_named: bool) -> None:
    for line in lines:
        shown = printable(line.rstrip("\r"))
        click.echo(f"{id} | {shown}" if is_named else shown)
