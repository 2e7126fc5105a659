"""``inferry audit``: who changed what through the service."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from runtime.cli.output import Record, output_option, print_records
from runtime.cli.workspace import open_workspace, workspace_option

if TYPE_CHECKING:
    from registry.audit import AuditEntry

COLUMNS = ("id", "at", "who", "role", "client", "route", "path", "status")


@click.group()
def audit() -> None:
    """See who changed what through the service."""


@audit.command("list")
@click.option("--who", metavar="NAME", help="Only what this token did.")
@click.option("--before", type=click.IntRange(min=1), metavar="ID", help="Only older than this.")
@click.option(
    "--limit", type=click.IntRange(1, 1000), default=50, show_default=True, help="How many."
)
@output_option
@workspace_option
def list_entries(
    who: str | None, before: int | None, limit: int, output: str, workspace_dir: str | None
) -> None:
    """List changes, and what was refused, the newest first.

    A status of 0 is that of a change whose end nobody saw: the service ended in its midst."""
    with open_workspace(workspace_dir) as workspace:
        found = workspace.audit.list(who=who, before=before, limit=limit)
    print_records([_record(entry) for entry in found], COLUMNS, output)


def _record(entry: AuditEntry) -> Record:
    return {
        "id": entry.id,
        "at": entry.at,
        "who": entry.who,
        "role": entry.role,
        "client": entry.client,
        "method": entry.method,
        "route": entry.route,
        "path": entry.path,
        "status": entry.status,
    }
