"""``inferry target ...``: places that run deployments or scripts."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import click

from runtime.cli.deployment_elsewhere import elsewhere
from runtime.cli.output import Record, output_option, print_done, print_record, print_records
from runtime.cli.text import printable
from runtime.cli.workspace import open_workspace, workspace_option
from runtime.errors import BadValueError

if TYPE_CHECKING:
    from registry import Workspace
    from registry.deployments import Target
    from runtime.deployments.attaching import Found
    from runtime.remote.targets import RemoteTargets

COLUMNS = ("name", "kind", "settings", "users")


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def target() -> None:
    """Name the places where deployments and scripts run.

    The target local is this machine, and always there."""


@target.command()
@click.argument("name")
@click.option(
    "--kind",
    required=True,
    type=click.Choice(["docker", "fpga", "edge", "ssh", "spark"]),
    help="A Docker Engine, an FPGA board, devices of the hub; for scripts an SSH server, or Spark.",
)
@click.option(
    "--set",
    "settings",
    multiple=True,
    metavar="KEY=VALUE",
    help="docker: url, tls, ssh_config, address, insecure; fpga: board, python; edge: condition,"
    " port, address; ssh: host, user, port, host_key, key, python, path; spark: master,"
    " spark_submit, python. May repeat.",
)
@click.option("--no-check", is_flag=True, help="Attach it without trying whether it is there.")
@output_option
@workspace_option
def attach(
    name: str,
    kind: str,
    settings: tuple[str, ...],
    no_check: bool,
    output: str,
    workspace_dir: str | None,
) -> None:
    """Make the target NAME known, and say what is there.

    A Docker Engine: --set url=tcp://HOST:2376 --set tls=FOLDER (with ca.pem, cert.pem, key.pem), or
    --set url=ssh://USER@HOST; without url this machine's. Replicas are reached at the host of the
    url, or at --set address=ADDRESS. Devices: --set condition='line == "3"', as of inferry edge
    deploy --target.

    Docker Engines run scripts too (inferry run submit); an SSH server (--set host=HOST --set
    user=USER, with --set key=FILE or the keys in ~/.ssh) and Spark (--set master=MASTER) run
    nothing else. An SSH server must be one that ~/.ssh/known_hosts has, or --set host_key= ."""
    if kind in ("ssh", "spark"):
        _attach_for_scripts(name, kind, settings, no_check, output, workspace_dir)
        return
    with open_workspace(workspace_dir) as workspace:
        made, found = _attached(workspace, name, kind, _settings(settings), is_checked=not no_check)
    if output == "json":
        print_record({**record(made), "found": None if found is None else found.facts}, output)
        return
    said = f": {found.line}" if found is not None and found.line else ""
    click.echo(f"Attached {made.name}{said}; use it with: inferry deploy --target {made.name}")
    if found is not None and found.warning:
        click.echo(f"inferry: {printable(found.warning)}", err=True)


def _attach_for_scripts(
    name: str,
    kind: str,
    settings: tuple[str, ...],
    no_check: bool,
    output: str,
    workspace_dir: str | None,
) -> None:
    with open_workspace(workspace_dir) as workspace:
        if elsewhere(workspace) is None:
            from runtime.submission import attaching

            given = _settings(settings)
            made, found = attaching.attach(
                workspace.targets, name, kind, given, is_asked=not no_check
            )
        else:
            made, there = _attached(
                workspace, name, kind, _settings(settings), is_checked=not no_check
            )
            found = "" if there is None else there.line
    if output == "json":
        print_record({**record(made), "found": found or None}, output)
        return
    said = f": {printable(found)}" if found else ""
    click.echo(f"Attached {name}{said}; use it with: inferry run submit --target {name}")


@target.command("list")
@output_option
@workspace_option
def list_targets(output: str, workspace_dir: str | None) -> None:
    """List the targets, and the deployments that are there."""
    with open_workspace(workspace_dir) as workspace:
        found = workspace.targets.list()
    print_records([record(item) for item in found], COLUMNS, output)


@target.command()
@click.argument("name")
@output_option
@workspace_option
def show(name: str, output: str, workspace_dir: str | None) -> None:
    """Show a target."""
    with open_workspace(workspace_dir) as workspace:
        found = workspace.targets.get(name)
    print_record(record(found), output)


@target.command()
@click.argument("name")
@output_option
@workspace_option
def detach(name: str, output: str, workspace_dir: str | None) -> None:
    """Forget a target; refused while a deployment is there."""
    with open_workspace(workspace_dir) as workspace:
        gone = workspace.targets.detach(name)
    print_done(record(gone), f"Detached {gone.name}", output)


def _attached(
    workspace: Workspace, name: str, kind: str, settings: dict[str, str], *, is_checked: bool
) -> tuple[Target, Found | None]:
    """A service looks itself: it is from there that the target is reached."""
    if elsewhere(workspace) is not None:
        there = cast("RemoteTargets", workspace.targets)
        made = there.attach_found(name, kind, settings, is_checked=is_checked)
        return made.target, made.found
    from runtime.deployments.attaching import check_target, found_at

    targets = workspace.targets
    wanted = targets.checked(name, kind, settings)
    check_target(wanted)
    found = found_at(workspace, wanted) if is_checked else None
    return targets.attach(name, kind, wanted.settings), found


def record(item: Target) -> Record:
    """A target as JSON has it."""
    return {
        "name": item.name,
        "kind": item.kind,
        "settings": dict(item.settings),
        "attached_at": item.attached_at,
        "users": list(item.users),
    }


def _settings(texts: tuple[str, ...]) -> dict[str, str]:
    """A value may have ``=`` in it: a condition has."""
    found: dict[str, str] = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not (key and equals):
            raise BadValueError(f"--set {text[:60]!a} is no KEY=VALUE")
        if key in found:
            raise BadValueError(f"--set {key[:60]!a} is given twice")
        found[key] = value
    return found
