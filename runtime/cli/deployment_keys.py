"""``inferry deployment keys`` and ``inferry deployment secret ...``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from runtime.cli.deployment_values import secret_file, who
from runtime.cli.output import output_option, print_done, print_record
from runtime.cli.workspace import open_workspace, workspace_option

if TYPE_CHECKING:
    from registry.deployments.deployments import Slot


@click.command()
@click.argument("name")
@click.option(
    "--regenerate",
    type=click.Choice(["primary", "secondary"]),
    help="Make it anew; the other one opens on.",
)
@output_option
@workspace_option
def keys(name: str, regenerate: Slot | None, output: str, workspace_dir: str | None) -> None:
    """Print the two keys that open a deployment: they are secret.

    Clients send either as Authorization: Bearer KEY."""
    with open_workspace(workspace_dir) as workspace:
        if regenerate is not None:
            workspace.deployments.renew_key(name, regenerate, actor=who())
        found = workspace.deployments.get(name)
        opened = workspace.deployments.keys(name)
    print_record({slot: opened[slot] for slot in ("primary", "secondary")}, output)
    if not found.service.is_keyed and output != "json":
        click.echo(
            f"inferry: {name} asks for no key; change that with:"
            f" inferry deployment update {name} --keys",
            err=True,
        )


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def secret() -> None:
    """Give replicas what no image has. Kept encrypted; no command prints one."""


@secret.command("set")
@click.argument("name")
@click.argument("key")
@click.argument("file", required=False, type=click.Path(path_type=Path), metavar="[FILE|-]")
@output_option
@workspace_option
def set_secret(
    name: str, key: str, file: Path | None, output: str, workspace_dir: str | None
) -> None:
    """Set the secret KEY of a deployment to what is in FILE.

    Without FILE it is asked for, or read from standard input. Running replicas keep what they
    have; update the deployment with --secret to give a new name to its replicas."""
    if file is None and sys.stdin.isatty():
        value = click.prompt(f"{key}", hide_input=True, err=True).encode()
    else:
        value = secret_file(key, file or Path("-"))
    with open_workspace(workspace_dir) as workspace:
        workspace.deployments.set_secret(name, key, value, actor=who())
    said = f"Set {key} of {name}; replicas that run keep what they have"
    print_done({"deployment": name, "secret": key}, said, output)


@secret.command("remove")
@click.argument("name")
@click.argument("key")
@output_option
@workspace_option
def remove_secret(name: str, key: str, output: str, workspace_dir: str | None) -> None:
    """Remove a secret; refused while a revision in service has it."""
    with open_workspace(workspace_dir) as workspace:
        workspace.deployments.remove_secret(name, key, actor=who())
    print_done({"deployment": name, "secret": key}, f"Removed {key} of {name}", output)
