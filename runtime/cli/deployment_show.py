"""``inferry deployment list|show|ledger``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import click

from runtime.cli.deployment_records import (
    COLUMNS,
    for_people,
    overview,
    record,
)
from runtime.cli.deployment_shadow import shadow_lines, shadow_records
from runtime.cli.deployment_values import moment_of
from runtime.cli.deployment_wait import say_if_alone
from runtime.cli.output import Json, Record, output_option, print_record, print_records
from runtime.cli.run_records import lines_record
from runtime.cli.workspace import open_workspace, workspace_option

if TYPE_CHECKING:
    from registry.deployments import Deployments, Entry, Live

LEDGER_COLUMNS = ("at", "deployment", "actor", "event", "detail")
LIVE_COLUMNS = ("deployment", "revision", "percent", "image", "since", "actor")
PAGE = 1000


@click.command("list")
@output_option
@workspace_option
def list_deployments(output: str, workspace_dir: str | None) -> None:
    """List the deployments, and how they are."""
    with open_workspace(workspace_dir) as workspace:
        found = workspace.deployments.list()
        kinds = {each.name: each.kind for each in workspace.targets.list()}
        rows = [
            record(item) if output == "json" else overview(item, kinds.get(item.target, "local"))
            for item in found
        ]
        print_records(rows, COLUMNS, output)
        if found and output != "json":
            say_if_alone(workspace)


@click.command()
@click.argument("name")
@output_option
@workspace_option
def show(name: str, output: str, workspace_dir: str | None) -> None:
    """Show all that is known of a deployment, but no secret and no key."""
    with open_workspace(workspace_dir) as workspace:
        found = workspace.deployments.get(name)
        kind = workspace.targets.get(found.target).kind
        came_from = lines_record(workspace.lineage.of_deployment(name))["came_from"]
        shown = record(found) if output == "json" else for_people(found, kind)
        shadows = shadow_records(found, workspace)
        if output == "json" or shadows:
            shown = {**shown, "shadows": shadows if output == "json" else shadow_lines(shadows)}
        print_record({**shown, "came_from": came_from}, output)
        if output != "json":
            say_if_alone(workspace)


@click.command()
@click.argument("name", required=False)
@click.option("--at", metavar="TIME", help="What was live then; UTC where it names no zone.")
@output_option
@workspace_option
def ledger(name: str | None, at: str | None, output: str, workspace_dir: str | None) -> None:
    """Say who changed what, and when; also of deployments that are gone."""
    moment = None if at is None else moment_of(at)
    with open_workspace(workspace_dir) as workspace:
        deployments = workspace.deployments
        entries = _all(deployments, name)
        if moment is None:
            if name is not None and not entries:
                deployments.get(name)  # says that there is none
            rows = [_entry(each) for each in entries]
            if output != "json":
                rows = [
                    {**row, "detail": _told(each.event, each.detail)}
                    for row, each in zip(rows, entries, strict=True)
                ]
            print_records(rows, LEDGER_COLUMNS, output)
            return
        names = sorted({each.deployment for each in entries}) if name is None else [name]
        rows = [row for each in names for row in _live(each, deployments.live_at(each, moment))]
    print_records(rows, LIVE_COLUMNS, output)
    if not rows and output != "json":
        click.echo(f"Nothing had traffic at {moment}", err=True)


def _all(deployments: Deployments, name: str | None) -> list[Entry]:
    found: list[Entry] = []
    while page := deployments.ledger(name, after=found[-1].id if found else 0, limit=PAGE):
        found += page
    return found


def _entry(item: Entry) -> Record:
    detail: dict[str, Json] = dict(item.detail)
    return {
        "id": item.id,
        "at": item.at,
        "deployment": item.deployment,
        "actor": item.actor,
        "event": item.event,
        "detail": detail,
    }


def _told(event: str, detail: Mapping[str, Any]) -> str:
    """The detail of an entry for people: without digests, and what is empty."""
    if "cut" in detail:
        return "too long to be kept"
    if event == "live":
        images = {number: image.split("@")[0] for number, image in detail["images"].items()}
        parts = [
            f"revision {each['revision']} ({images.get(str(each['revision']), '?')}):"
            f" {each['percent']:g} %{' as a shadow' if each['is_shadow'] else ''}"
            for each in detail["traffic"]
        ]
        return "; ".join([", ".join(parts), *([detail["why"]] if detail.get("why") else [])])
    if event == "changed":
        return "; ".join(
            f"{key}: {_brief(old)} -> {_brief(new)}" for key, (old, new) in detail.items()
        )
    return ", ".join(f"{key}={_brief(value)}" for key, value in detail.items() if value != "")


def _brief(value: Any) -> str:
    if value is None:
        return "as usual"
    if isinstance(value, dict):
        return ", ".join(f"{key}={_brief(each)}" for key, each in value.items()) or "as usual"
    if isinstance(value, list):
        return " ".join(map(_brief, value))
    return str(value)


def _live(name: str, live: Live | None) -> list[Record]:
    """A row for each share of the traffic."""
    if live is None:
        return []
    return [
        {
            "deployment": name,
            "revision": share.revision,
            "percent": share.percent,
            "is_shadow": share.is_shadow,
            "image": live.images.get(share.revision),
            "since": live.since,
            "actor": live.actor,
        }
        for share in live.traffic
    ]
