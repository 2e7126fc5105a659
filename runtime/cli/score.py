"""``inferry score``: one request from the command line."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, BinaryIO, cast

import click

from runtime.cli.deployment_address import address_of
from runtime.cli.workspace import open_workspace, workspace_option
from runtime.scoring_call import DEFAULT_TIMEOUT_S, call

if TYPE_CHECKING:
    from runtime.remote.deployments import RemoteDeployments


@click.command()
@click.argument("where", metavar="URL|DEPLOYMENT")
@click.option(
    "--data",
    "-d",
    required=True,
    type=click.File("rb"),
    metavar="FILE|-",
    help="The request body; - reads standard input.",
)
@click.option(
    "--content-type", default="application/json", show_default=True, help="What the body is."
)
@click.option(
    "--timeout-s",
    type=click.FloatRange(min=0, min_open=True),
    default=DEFAULT_TIMEOUT_S,
    show_default=True,
    help="How long to wait for the answer.",
)
@workspace_option
def score(
    where: str,
    data: BinaryIO,
    content_type: str,
    timeout_s: float,
    workspace_dir: str | None,
) -> None:
    """Send data to a scoring server or deployment and print the answer.

    URL is the server's address, such as http://127.0.0.1:8000; /score is added to a bare one. A
    deployment is asked at its URL, with its primary key where it wants one; one of a service, that
    only its own machine can ask, through the service."""
    address = address_of(where, workspace_dir)
    if address.is_relayed:
        with open_workspace(workspace_dir) as workspace:
            answer = cast("RemoteDeployments", workspace.deployments).score(
                where, data.read(), content_type=content_type, timeout_s=timeout_s
            )
    else:
        answer = call(
            address.url,
            data.read(),
            content_type=content_type,
            timeout_s=timeout_s,
            key=address.key,
            tls=address.tls(),
        )
    stdout = sys.stdout.buffer
    stdout.write(answer)
    if not answer.endswith(b"\n"):
        stdout.write(b"\n")
    stdout.flush()
