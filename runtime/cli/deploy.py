"""``inferry deploy``: from an image to a web service with a stable URL."""

from __future__ import annotations

from typing import Any

import click

from runtime.cli.deployment_hooks import hook_secret
from runtime.cli.deployment_options import revision_of, service_of, settings_options
from runtime.cli.deployment_values import secret_files, who
from runtime.cli.deployment_wait import end, timeout_option
from runtime.cli.output import output_option
from runtime.cli.server_options import SectionedCommand
from runtime.cli.workspace import open_workspace, workspace_option


@click.command(cls=SectionedCommand)
@click.argument("name")
@click.option("--image", required=True, metavar="N[:V]", help="What runs.")
@click.option(
    "--target", default="local", show_default=True, help="Where: see inferry target list."
)
@settings_options
@click.option("--no-wait", is_flag=True, help="Declare it, and leave the rest to inferry up.")
@timeout_option(300)
@output_option
@workspace_option
def deploy(
    name: str,
    image: str,
    target: str,
    no_wait: bool,
    timeout_s: float,
    output: str,
    workspace_dir: str | None,
    **given: Any,
) -> None:
    """Run an image as a web service with a stable URL, and print that.

    It is declared first, and then waited for until it runs; inferry up keeps it so. Where no
    inferry up runs, this command does its work until the deployment runs."""
    from registry.deployments import RevisionSettings, ServiceSettings

    secrets, signing = secret_files(given["secret"]), hook_secret(given)
    settings = revision_of(given, RevisionSettings(), secrets, merges=False)
    with open_workspace(workspace_dir) as workspace:
        made = workspace.deployments.create(
            name,
            image,
            target=target,
            service=service_of(given, ServiceSettings()),
            settings=settings,
            secrets={k: v for k, v in {**secrets, **signing}.items() if v is not None},
            actor=who(),
        )
        said = f"{name} shall run {made.revision(made.goal).image} on {made.target}"
        end(
            workspace,
            made,
            said,
            is_waiting=not no_wait,
            timeout_s=timeout_s,
            output=output,
        )
