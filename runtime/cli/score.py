"""``inferry score``: one request from the command line."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import click

from runtime.cli.workspace import open_workspace, workspace_option
from runtime.errors import DeploymentFailedError
from runtime.scoring_call import DEFAULT_TIMEOUT_S, call, pinned

if TYPE_CHECKING:
    import ssl


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
    workspace_dir: Path | None,
) -> None:
    """Send data to a scoring server or deployment and print the answer.

    URL is the server's address, such as http://127.0.0.1:8000; /score is added to a bare one. A
    deployment is asked at its URL, with its primary key where it wants one."""
    url, key, tls = _of_deployment(where, workspace_dir) if _is_name(where) else (where, None, None)
    answer = call(
        url, data.read(), content_type=content_type, timeout_s=timeout_s, key=key, tls=tls
    )
    stdout = sys.stdout.buffer
    stdout.write(answer)
    if not answer.endswith(b"\n"):
        stdout.write(b"\n")
    stdout.flush()


def _is_name(where: str) -> bool:
    from registry.deployments.settings import check_deployment_name
    from registry.errors import InvalidNameError

    if not where or not where.replace("-", "").isalnum():
        return False  # a URL has more than that
    try:
        check_deployment_name(where)
    except InvalidNameError:
        return False
    return True


def _of_deployment(
    name: str, workspace_dir: Path | None
) -> tuple[str, str | None, ssl.SSLContext | None]:
    """URL, key, and which certificate to trust."""
    from runtime.cli.deployment_records import state_line

    with open_workspace(workspace_dir) as workspace:
        found = workspace.deployments.get(name)
        key = workspace.deployments.keys(name)["primary"] if found.service.is_keyed else None
    if found.observed is None or found.observed.url is None:
        raise DeploymentFailedError(f"{name} has no URL now, it is {state_line(found)}")
    url, certificate = found.observed.url, found.service.tls_certificate
    is_pinned = url.startswith("https:") and certificate is not None
    return url, key, pinned(Path(certificate)) if is_pinned and certificate else None
