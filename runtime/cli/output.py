"""Prints records: a table for people, JSON for programs (``--output``)."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

import click

from runtime.cli.text import printable

Json = None | bool | int | float | str | Sequence["Json"] | Mapping[str, "Json"]
Record = Mapping[str, Json]
F = TypeVar("F", bound=Callable[..., object])


def output_option(command: F) -> F:
    """Adds ``--output table|json`` to a command, which receives it as ``output``."""
    option = click.option(
        "--output",
        "-o",
        type=click.Choice(["table", "json"]),
        default="table",
        show_default=True,
        help="For people, or for programs.",
    )
    return option(command)


def print_records(records: Sequence[Record], columns: Sequence[str], output: str) -> None:
    """A list: JSON has every field of each record, the table only ``columns``."""
    if output == "json":
        print_json(list(records))
        return
    rows = [[cell(record.get(column)) for column in columns] for record in records]
    if sys.stdout.isatty():
        _print_rich(columns, rows)
    else:
        _print_plain(columns, rows)


def print_record(record: Record, output: str) -> None:
    """One record: a line per field."""
    if output == "json":
        print_json(record)
        return
    width = max(len(name) for name in record)
    for name, value in record.items():
        lines = _lines(value) or [""]
        for number, line in enumerate(lines):
            click.echo(f"{name if number == 0 else '':{width}}  {line}".rstrip())


def print_done(record: Record, said: str, output: str) -> None:
    """What a command did: a sentence for people, what it was done to for programs."""
    if output == "json":
        print_json(record)
    else:
        click.echo(said)


def print_json(value: Json) -> None:
    """Indented JSON; ASCII only, so that it prints everywhere."""
    click.echo(json.dumps(value, indent=2))


def cell(value: Json) -> str:
    """A value in one table cell."""
    if value is None:
        return ""
    if isinstance(value, Mapping):
        return printable(", ".join(f"{k}={cell(v)}" if v != "" else k for k, v in value.items()))
    if isinstance(value, Sequence) and not isinstance(value, str):
        return printable(", ".join(cell(item) for item in value))
    return printable(str(value))


def _lines(value: Json) -> list[str]:
    """A value over as many lines as it has items."""
    if isinstance(value, Mapping):
        return [cell({name: item}) for name, item in value.items()]
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [cell(item) for item in value]
    if isinstance(value, str):
        return [printable(line) for line in value.splitlines()]
    return [cell(value)]


def _print_plain(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Aligned columns, never cut or wrapped: for pipes and files."""
    table = [[column.upper() for column in columns], *rows]
    widths = [max(len(row[i]) for row in table) for i in range(len(columns))]
    for row in table:
        line = "  ".join(f"{text:{width}}" for text, width in zip(row, widths, strict=True))
        click.echo(line.rstrip())


def _print_rich(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    from rich.console import Console  # 60 ms that only a terminal pays
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False)
    for column in columns:
        table.add_column(column.upper(), overflow="fold")
    for row in rows:
        table.add_row(*(Text(text) for text in row))
    Console().print(table)
