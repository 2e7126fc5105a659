"""``inferry model alias ...``: names such as champion that mean one version of a model."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from runtime.cli.deployment_values import who
from runtime.cli.output import Record, output_option, print_record, print_records
from runtime.cli.run_records import moment
from runtime.cli.workspace import open_workspace, workspace_option
from runtime.errors import BadValueError

if TYPE_CHECKING:
    from registry.aliases import AliasChange

COLUMNS = ("model", "alias", "version")
CHANGE_COLUMNS = ("at", "alias", "version", "who")
REF = "NAME@ALIAS"


@click.group()
def alias() -> None:
    """Let a name such as champion mean one version of a model, until it means another.

    NAME@ALIAS stands wherever a model is asked for. MLflow's clients have the same aliases."""


@alias.command("set")
@click.argument("ref", metavar=REF)
@click.argument("version", type=click.IntRange(min=1))
@output_option
@workspace_option
def set_alias(ref: str, version: int, output: str, workspace_dir: str | None) -> None:
    """Let NAME@ALIAS mean this VERSION from now on."""
    name, named = _parts(ref)
    with open_workspace(workspace_dir) as workspace:
        workspace.aliases.set(name, named, version, who=who())
    if output == "json":
        print_record(_record(name, named, version), output)
    else:
        click.echo(f"{name}@{named} means {name}:{version}")


@alias.command()
@click.argument("ref", metavar=REF)
@output_option
@workspace_option
def remove(ref: str, output: str, workspace_dir: str | None) -> None:
    """Let NAME@ALIAS mean nothing; the version stays."""
    name, named = _parts(ref)
    with open_workspace(workspace_dir) as workspace:
        version = workspace.aliases.get(name, named)
        workspace.aliases.remove(name, named, who=who())
    if output == "json":
        print_record(_record(name, named, version), output)
    else:
        click.echo(f"{name}@{named} means nothing; it was {name}:{version}")


@alias.command("list")
@click.argument("name")
@click.option("--history", is_flag=True, help="Every change that there was, by whom.")
@output_option
@workspace_option
def list_aliases(name: str, history: bool, output: str, workspace_dir: str | None) -> None:
    """List the aliases of the model NAME."""
    with open_workspace(workspace_dir) as workspace:
        if history:
            changes = [_change(each) for each in workspace.aliases.history(name)]
            print_records(changes, CHANGE_COLUMNS, output)
            return
        workspace.models.get(name)  # says that there is none
        found = workspace.aliases.of(name)
    rows = [_record(name, named, version) for named, version in found.items()]
    print_records(rows, COLUMNS, output)


def _parts(ref: str) -> tuple[str, str]:
    from registry.names import parse_reference

    found = parse_reference(ref)
    if found.alias is None:
        raise BadValueError(
            f"{ref[:100]!a} names no alias; say NAME@ALIAS, such as digits@champion"
        )
    return found.name, found.alias


def _record(name: str, named: str, version: int) -> Record:
    return {"model": name, "alias": named, "version": version}


def _change(change: AliasChange) -> Record:
    return {
        "model": change.model,
        "alias": change.alias,
        "version": change.version,
        "at": moment(change.at_ms),
        "who": change.who,
    }
