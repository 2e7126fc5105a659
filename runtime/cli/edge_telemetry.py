"""``inferry edge telemetry``."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING

import click

from runtime.cli.edge_place import moment, open_database
from runtime.cli.output import Json, Record, output_option, print_records
from runtime.cli.workspace import workspace_option

if TYPE_CHECKING:
    from edge.hub.telemetry import StoredGap, StoredRecord

COLUMNS = ("time", "device", "source", "kind", "body")


@click.command("telemetry")
@click.argument("device", required=False)
@click.option("--source", help="Only of this module, or of host or agent.")
@click.option(
    "--kind", help="Only of this kind: metrics, switched, refused, or what the application says."
)
@click.option(
    "--limit",
    type=click.IntRange(1, 100_000),
    default=20,
    show_default=True,
    help="The newest ones, so many.",
)
@click.option("--follow", "-f", is_flag=True, help="Then print what comes, until Ctrl-C.")
@click.option("--gaps", is_flag=True, help="What is known to be lost, instead.")
@output_option
@workspace_option
def telemetry(
    device: str | None,
    source: str | None,
    kind: str | None,
    limit: int,
    follow: bool,
    gaps: bool,
    output: str,
    workspace_dir: str | None,
) -> None:
    """Print the telemetry of a DEVICE, or of all.

    With --follow and --output json each record is a line."""
    from edge.hub import devices as known
    from edge.hub import telemetry as stored

    if gaps and follow:
        raise click.UsageError("--gaps and --follow exclude each other")
    database = open_database(workspace_dir)
    query = stored.Query(device=device, source=source, kind=kind)
    with database.reader() as connection:
        if device is not None:
            known.get(connection, device)
        if gaps:
            lost = [_gap(gap) for gap in stored.gaps(connection, device, limit)]
            print_records(
                lost, ("received_at", "device", "stream", "first", "last", "reason"), output
            )
            return
        page = stored.newest(connection, query, limit)
    if not follow:
        print_records([_row(found, output) for found in page.records], COLUMNS, output)
        return
    for found in page.records:
        _print_line(found, output)
    for found in stored.follow(database, query, after=page.cursor, is_stopped=lambda: False):
        _print_line(found, output)


def _print_line(found: StoredRecord, output: str) -> None:
    if output == "json":
        click.echo(json.dumps(record(found)))
        return
    from runtime.cli.output import cell

    click.echo("  ".join(cell(_row(found, output)[column]) for column in COLUMNS))


def _row(found: StoredRecord, output: str) -> Record:
    known = record(found)
    return known if output == "json" else {**known, "body": json.dumps(known["body"])}


def record(found: StoredRecord) -> dict[str, Json]:
    """As JSON has it. ``is_time_exact`` false: the device did not know the time; it is when the
    record came."""
    try:
        body = json.loads(bytes(found.body), parse_float=_finite)
    except (ValueError, RecursionError):
        body = None
    return {
        "time": moment(found.time_ms),
        "is_time_exact": found.is_time_exact,
        "device": found.device,
        "source": found.source,
        "kind": found.kind,
        "stream": found.stream,
        "seq": found.seq,
        "body": body,
    }


def _finite(text: str) -> float | None:
    """None for 1e999, which JSON may say and no float can hold."""
    value = float(text)
    return value if math.isfinite(value) else None


def _gap(gap: StoredGap) -> Record:
    return {
        "received_at": moment(gap.received_ms),
        "device": gap.device,
        "stream": gap.stream,
        "first": gap.first,
        "last": gap.last,
        "reason": gap.reason,
    }
