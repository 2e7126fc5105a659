"""Where the hub of a workspace keeps its things, and what the edge commands share."""

from __future__ import annotations

import getpass
import os
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from runtime.cli.workspace import open_workspace

if TYPE_CHECKING:
    from edge.hub.database import Database


class DefaultGroup(click.Group):
    """A group whose words mean something without a command: ``devices`` is ``devices list`` and
    ``devices NAME`` is ``devices show NAME``."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Puts the command in that was left out."""
        helps = ctx.help_option_names
        if not args or (args[0].startswith("-") and args[0] not in helps):
            args = ["list", *args]
        elif args[0] not in self.commands and args[0] not in helps:
            args = ["show", *args]
        return super().parse_args(ctx, args)


def edge_folder(workspace_dir: str | None) -> Path:
    """The hub's folder in the workspace: database, authority, configuration of the broker."""
    from runtime.edge_hub import edge_folder as folder_in

    with open_workspace(workspace_dir) as workspace:
        return folder_in(workspace.root)


def open_database(workspace_dir: str | None) -> Database:
    """The hub's database, made when it is not there."""
    from edge.hub.database import Database

    database = Database(edge_folder(workspace_dir) / "hub.db")
    database.migrate()
    return database


def user() -> str:
    """Who does it, for the ledger; in a container a user need not have a name."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"uid {os.getuid()}"


def now_ms() -> int:
    """Since 1970; of the hub's clock, which is this machine's."""
    return time.time_ns() // 1_000_000


def moment(time_ms: int | None) -> str | None:
    """As people and programs read it; None also for a time that no calendar has: a device may say
    any number."""
    if time_ms is None:
        return None
    try:
        text = datetime.fromtimestamp(time_ms / 1000, UTC).isoformat(timespec="milliseconds")
    except (ValueError, OverflowError, OSError):
        return None
    return text.replace("+00:00", "Z")
