"""``inferry edge devices ...``."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from typing import TYPE_CHECKING

import click

from runtime.cli.edge_place import DefaultGroup, moment, open_database
from runtime.cli.output import Json, Record, output_option, print_done, print_record, print_records
from runtime.cli.values import pairs
from runtime.cli.workspace import open_workspace, workspace_option

if TYPE_CHECKING:
    from edge.hub.devices import Device
    from edge.messages.reported import ModuleReport

COLUMNS = ("name", "online", "version", "modules", "tags", "last_seen", "error")


@click.group("devices", cls=DefaultGroup)
def devices() -> None:
    """See devices, tag them, let them go.

    Without a command: list them; with a NAME: show it."""


@devices.command("list")
@click.option("--tag", "tags", multiple=True, metavar="KEY[=VALUE]", help="Only with this tag.")
@click.option("--offline", is_flag=True, help="Only those that are not there.")
@output_option
@workspace_option
def list_devices(
    tags: tuple[str, ...], offline: bool, output: str, workspace_dir: str | None
) -> None:
    """List the devices and what they run."""
    from edge.hub import devices as known

    with open_database(workspace_dir).reader() as connection:
        found = known.list_devices(connection)
    shown = [
        one
        for one in found
        if _matches(one.tags, pairs(tags, "tag"), tags) and not (offline and one.is_online)
    ]
    if output == "json":
        print_records([record(one) for one in shown], COLUMNS, output)
    else:
        print_records([overview(one) for one in shown], COLUMNS, output)


@devices.command("show")
@click.argument("name")
@output_option
@workspace_option
def show(name: str, output: str, workspace_dir: str | None) -> None:
    """Show all that is known of a device."""
    from edge.hub import devices as known

    with open_database(workspace_dir).reader() as connection:
        found = known.get(connection, name)
    print_record(record(found) if output == "json" else details(found), output)


@devices.command("tag")
@click.argument("name")
@click.argument("tags", nargs=-1, metavar="[KEY=VALUE]...")
@click.option("--remove", multiple=True, metavar="KEY", help="Remove this tag; may repeat.")
@output_option
@workspace_option
def tag(
    name: str,
    tags: tuple[str, ...],
    remove: tuple[str, ...],
    output: str,
    workspace_dir: str | None,
) -> None:
    """Set and remove tags: with them a device can come under other deployments."""
    from edge.hub import devices as known

    if not tags and not remove:
        raise click.UsageError("say which tags to set, or --remove")
    database = open_database(workspace_dir)
    known.set_tags(database, name, pairs(tags, "tag"), remove)
    with database.reader() as connection:
        found = known.get(connection, name)
    print_done(record(found), f"Tagged {name}", output)


@devices.command("revoke")
@click.argument("name")
@output_option
@workspace_option
def revoke(name: str, output: str, workspace_dir: str | None) -> None:
    """Make the certificates and the token of a device worthless; what is known of it stays."""
    from runtime.edge_enrolment import revoke

    with open_workspace(workspace_dir) as workspace:
        certificates, tokens, broker = revoke(workspace, name)
    if output == "json":
        print_record({"name": name, "certificates": certificates, "tokens": tokens}, output)
        return
    click.echo(f"Revoked {certificates} certificates and {tokens} tokens of {name}")
    if broker is not None:
        click.echo(f"The broker's list in {broker} is new: send SIGHUP to mosquitto")
    else:
        click.echo("Copy edge/ca/crl.pem of the workspace to the broker, and send it SIGHUP")
    click.echo("A connection that it has now ends when the broker is restarted")


@devices.command("delete")
@click.argument("name")
@output_option
@workspace_option
def delete(name: str, output: str, workspace_dir: str | None) -> None:
    """Revoke a device and forget it, its telemetry too."""
    from edge.errors import NotFoundError
    from edge.hub import devices as known
    from runtime.edge_enrolment import revoke

    database = open_database(workspace_dir)
    with database.reader() as connection:
        gone = known.get(connection, name)
    with open_workspace(workspace_dir) as workspace, contextlib.suppress(NotFoundError):
        revoke(workspace, name)
    known.remove(database, name)
    said = f"Deleted {name}; if the broker has its own copy of crl.pem, bring it the new one"
    print_done(record(gone), said, output)


def record(device: Device) -> Record:
    """A device as JSON has it."""
    report = device.reported
    status = device.status
    return {
        "name": device.name,
        "tags": dict(device.tags),
        "online": device.is_online,
        "enrolled_at": moment(device.enrolled_at_ms),
        "last_seen": moment(device.last_seen_ms),
        "reported_at": moment(device.reported_at_ms),
        "machine": status.machine if status is not None else None,
        "agent_version": status.agent_version if status is not None else None,
        "hosts": list(status.hosts) if status is not None else [],
        "desired_version": report.desired_version if report is not None else None,
        "applied_version": report.applied_version if report is not None else None,
        "error": report.error if report is not None else None,
        "modules": [module_record(one) for one in report.modules] if report is not None else [],
        "machine_state": _fields(report.host) if report is not None else None,
        "outbox": _fields(report.outbox) if report is not None else None,
    }


def module_record(module: ModuleReport) -> Record:
    """A module as JSON has it."""
    return {**_fields(module), "started_at": moment(module.started_at_ms)}


def overview(device: Device) -> Record:
    """A device on one line."""
    known = record(device)
    modules = device.reported.modules if device.reported is not None else ()
    version = known["applied_version"]
    if known["desired_version"] != version:
        version = f"{version} -> {known['desired_version']}"
    return {
        **known,
        "online": "yes" if device.is_online else "no",
        "version": version,
        "modules": ", ".join(_short(module) for module in modules),
    }


def details(device: Device) -> Record:
    """A device for people."""
    known = {key: value for key, value in record(device).items() if value not in (None, [], {}, "")}
    if device.reported is not None:
        known["modules"] = [_long(module) for module in device.reported.modules]
    return known


def _short(module: ModuleReport) -> str:
    state = module.health if module.phase == "idle" else module.phase
    return f"{module.image or module.name} {state}"


def _long(module: ModuleReport) -> str:
    words = [f"{module.name}: {module.image or 'nothing'}, {module.health}, {module.phase}"]
    if module.waiting_for:
        words.append(f"waits for {module.waiting_for}")
    if module.restarts:
        words.append(f"{module.restarts} restarts")
    if module.error:
        words.append(module.error)
    return ", ".join(words)


def _fields(message: object) -> dict[str, Json]:
    fields: tuple[str, ...] = getattr(message, "__struct_fields__", ())
    return {name: getattr(message, name) for name in fields}


def _matches(tags: Mapping[str, str], wanted: Mapping[str, str], given: tuple[str, ...]) -> bool:
    """A tag without = asks only whether it is there."""
    return all(
        key in tags and (key in given or tags[key] == value) for key, value in wanted.items()
    )
