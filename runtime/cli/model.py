"""``inferry model ...``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from runtime.cli.output import Record, output_option, print_record, print_records
from runtime.cli.progress import progress
from runtime.cli.values import pairs
from runtime.cli.workspace import open_workspace, workspace_option

if TYPE_CHECKING:
    from registry import Model

COLUMNS = ("name", "version", "size_bytes", "created", "tags")
tag_option = click.option("--tag", "tags", multiple=True, metavar="KEY=VALUE", help="May repeat.")


@click.group()
def model() -> None:
    """Register models and look after them.

    A model is NAME:VERSION; NAME alone means its latest version."""
