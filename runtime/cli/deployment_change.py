"""``inferry deployment scale|update|rollback|traffic|delete`` and ``revision drop``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click
import msgspec

from runtime.cli.deployment_hooks import hook_secret
from runtime.cli.deployment_options import (
    revision_of,
    service_of,
    settings_options,
    unset_option,
)
from runtime.cli.deployment_records import record, share_line, span
from runtime.cli.deployment_values import Finite, Replicas, secret_files, shares, who
from runtime.cli.deployment_wait import (
    end,
    say_if_alone,
    timeout_option,
    until_gone,
    wait_option,
    watching,
)
from runtime.cli.output import output_option, print_done
from runtime.cli.server_options import SectionedCommand
from runtime.cli.workspace import open_workspace, workspace_option
from runtime.errors import BadValueError

if TYPE_CHECKING:
    from registry import Workspace
    from registry.deployments import Deployment


@click.command()
@click.argument("name")
@click.argument("replicas", type=Replicas(), metavar="[N|MIN..MAX]", required=False)
@click.option(
    "--external", metavar="URL", help='Is asked how many between MIN and MAX: {"replicas": 3}.'
)
@click.option("--no-external", is_flag=True, help="Inferry decides by itself again.")
@output_option
@workspace_option
def scale(
    name: str,
    replicas: tuple[int, int] | None,
    external: str | None,
    no_external: bool,
    output: str,
    workspace_dir: str | None,
) -> None:
    """Say how many replicas a deployment has, or who decides it.

    Hooks around a change of scale run for this one, too."""
    if external is not None and no_external:
        raise click.UsageError("say either --external URL or --no-external")
    if replicas is None and external is None and not no_external:
        raise click.UsageError("say how many: N or MIN..MAX")
    with open_workspace(workspace_dir) as workspace:
        before = workspace.deployments.get(name).service
        least, most = replicas or (before.least_replicas, before.most_replicas)
        asked = None if no_external else external or before.external_scale
        after = msgspec.structs.replace(
            before, least_replicas=least, most_replicas=most, external_scale=asked
        )
        found = workspace.deployments.update(name, service=after, actor=who())
        said = f", as {asked} says" if asked is not None and least != most else ""
        done = f"{name} shall have {span(found.service)} replicas{said}"
        print_done(record(found), done, output)
        if asked is not None and least == most:
            click.echo(
                f"inferry: {asked} has nothing to say while {name} has just {least};"
                " give it a range: MIN..MAX",
                err=True,
            )
        say_if_alone(workspace)


@click.command(cls=SectionedCommand)
@click.argument("name")
@click.option("--image", metavar="N[:V]", help="Another one: a new revision.")
@click.option(
    "--shadow",
    metavar="PERCENT",
    type=Finite(0.01, 100),
    help="The new revision gets a copy of so much; its answers go to nobody.",
)
@settings_options
@unset_option
@wait_option
@timeout_option(900)
@output_option
@workspace_option
def update(
    name: str,
    image: str | None,
    shadow: float | None,
    wait: bool,
    timeout_s: float,
    output: str,
    workspace_dir: str | None,
    **given: Any,
) -> None:
    """Change the image or settings of a deployment; what is not given stays.

    Another image, environment, secret or limit makes a new revision, which takes over step by step
    and is taken back where it does worse. --env KEY= and --secret NAME= take one away."""
    secrets = secret_files(given["secret"])
    with open_workspace(workspace_dir) as workspace:
        before = workspace.deployments.get(name).goal
        found = _update(workspace, name, image, given, secrets, shadow)
        if found.goal == before and any(value is not None for value in secrets.values()):
            click.echo("inferry: replicas that run keep the secret that they have read", err=True)
        said = f"{name} shall be revision {found.goal} ({found.revision(found.goal).image})"
        if shadow is not None:
            said = share_line(found, found.traffic[-1])
        end(workspace, found, said, is_waiting=wait, timeout_s=timeout_s, output=output)


def _update(
    workspace: Workspace,
    name: str,
    image: str | None,
    given: dict[str, Any],
    secrets: dict[str, bytes | None],
    shadow: float | None,
) -> Deployment:
    from registry.deployments.settings import check_revision, check_service

    deployments, actor = workspace.deployments, who()
    before = deployments.get(name)
    goal = before.revision(before.goal).settings
    after = revision_of(given, goal, secrets, merges=True)
    service = check_service(service_of(given, before.service))
    check_revision(after, {*before.secrets, *after.secrets})
    for key, value in {**secrets, **hook_secret(given)}.items():
        if value is not None:
            deployments.set_secret(name, key, value, actor=actor)
    return deployments.update(
        name, image=image, settings=after, service=service, shadow=shadow, actor=actor
    )


@click.command()
@click.argument("name")
@click.argument("to", required=False)
@wait_option
@timeout_option(900)
@output_option
@workspace_option
def rollback(
    name: str,
    to: str | None,
    wait: bool,
    timeout_s: float,
    output: str,
    workspace_dir: str | None,
) -> None:
    """Go back to an earlier revision of a deployment.

    TO is its number, its image NAME:VERSION, or a digest or the beginning of one. [default: the one
    before the goal]"""
    with open_workspace(workspace_dir) as workspace:
        found = workspace.deployments.rollback(name, to, actor=who())
        goal = found.revision(found.goal)
        said = f"{name} goes back to revision {goal.number} ({goal.image})"
        end(workspace, found, said, is_waiting=wait, timeout_s=timeout_s, output=output)


@click.command()
@click.argument("name")
@click.argument("given", nargs=-1, required=True, metavar="REVISION=PERCENT...")
@click.option(
    "--shadow",
    "shadows",
    multiple=True,
    metavar="REVISION=PERCENT",
    help="Gets a copy of so much; its answers go to nobody. May repeat.",
)
@output_option
@workspace_option
def traffic(
    name: str,
    given: tuple[str, ...],
    shadows: tuple[str, ...],
    output: str,
    workspace_dir: str | None,
) -> None:
    """Split the traffic of a deployment between its revisions; 100 percent in all."""
    with open_workspace(workspace_dir) as workspace:
        target = workspace.targets.get(workspace.deployments.get(name).target)
        if target.kind == "edge":
            raise BadValueError(
                f"{name} is on devices, which have no traffic to split; see inferry edge rollout"
            )
        found = workspace.deployments.set_traffic(
            name, shares(given, shadows), actor=who(), why="by hand"
        )
        lines = "\n".join(share_line(found, share) for share in found.traffic)
        print_done(record(found), lines, output)
        say_if_alone(workspace)


@click.command()
@click.argument("name")
@wait_option
@timeout_option(900)
@output_option
@workspace_option
def delete(name: str, wait: bool, timeout_s: float, output: str, workspace_dir: str | None) -> None:
    """Stop a deployment and forget it; its ledger stays."""
    with open_workspace(workspace_dir) as workspace:
        gone = workspace.deployments.delete(name, actor=who())
        if wait:
            with watching(workspace, name, output) as helper:
                until_gone(
                    workspace.deployments,
                    name,
                    helper.activity,
                    timeout_s=timeout_s,
                    look=helper.look,
                )
            print_done(record(gone), f"Deleted {name}", output)
            return
        print_done(record(gone), f"{name} ends, and is forgotten then", output)
        say_if_alone(workspace)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def revision() -> None:
    """Look after the revisions of a deployment."""


@revision.command()
@click.argument("name")
@click.argument("number", type=click.IntRange(1))
@output_option
@workspace_option
def drop(name: str, number: int, output: str, workspace_dir: str | None) -> None:
    """Forget an old revision, which frees its image for deletion."""
    with open_workspace(workspace_dir) as workspace:
        found = workspace.deployments.drop_revision(name, number, actor=who())
    print_done(record(found), f"Dropped revision {number} of {name}", output)
