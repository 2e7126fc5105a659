"""``inferry activity ...``."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

from runtime.cli.activity_hook import hook
from runtime.cli.activity_records import record
from runtime.cli.activity_resume import resume
from runtime.cli.output import output_option, print_done, print_record, print_records
from runtime.cli.progress import PhaseBar, amount, phase_lines
from runtime.cli.text import printable, printable_lines
from runtime.cli.workspace import open_workspace, workspace_option

if TYPE_CHECKING:
    from registry.activities import Activities, Activity

COLUMNS = ("id", "kind", "subject", "state", "phase", "progress", "started_at", "cause")
LOOK_EVERY_S = 0.3


@click.group()
def activity() -> None:
    """See what takes long, follow it, cancel it, begin it again.

    An activity is known by its id, or by as much of its beginning as says which."""


activity.add_command(hook)
activity.add_command(resume)


@activity.command("list")
@click.option("--kind", help="Only of this kind: image, push, ...")
@click.option("--running", is_flag=True, help="Only those that run now.")
@click.option(
    "--limit", type=click.IntRange(1, 1000), default=20, show_default=True, help="How many."
)
@output_option
@workspace_option
def list_activities(
    kind: str | None, running: bool, limit: int, output: str, workspace_dir: str | None
) -> None:
    """List the activities, the newest first."""
    with _activities(workspace_dir) as activities:
        found = activities.list(kind=kind, running_only=running, limit=limit)
    rows = [record(item) for item in found]
    if output != "json":
        rows = [{**row, "progress": _progress(item)} for row, item in zip(rows, found, strict=True)]
    print_records(rows, COLUMNS, output)


@activity.command()
@click.argument("ref", metavar="ID")
@output_option
@workspace_option
def show(ref: str, output: str, workspace_dir: str | None) -> None:
    """Show all that is known of an activity."""
    with _activities(workspace_dir) as activities:
        found = activities.get(ref)
    print_record(record(found), output)


@activity.command()
@click.argument("ref", metavar="ID")
@workspace_option
def log(ref: str, workspace_dir: str | None) -> None:
    """Print what an activity said so far."""
    with _activities(workspace_dir) as activities:
        said = activities.log(ref).decode(errors="replace")
    if said:
        click.echo(printable_lines(said))


@activity.command()
@click.argument("ref", metavar="ID")
@output_option
@workspace_option
def cancel(ref: str, output: str, workspace_dir: str | None) -> None:
    """Ask for the end of an activity; it ends at the next point where it can."""
    with _activities(workspace_dir) as activities:
        found = activities.cancel(ref)
    said = f"Asked for the end of {found.id}; see inferry activity show {found.id}"
    print_done(record(found), said, output)


@activity.command()
@click.argument("ref", metavar="ID")
@output_option
@workspace_option
@click.pass_context
def watch(ctx: click.Context, ref: str, output: str, workspace_dir: str | None) -> None:
    """Follow the log and the phases of an activity until it ends.

    The exit code is 0 if it succeeded, and else 1. --output json prints a line of JSON for each
    change and each line of the log."""
    viewer = _JsonViewer() if output == "json" else _Viewer()
    try:
        with _activities(workspace_dir) as activities:
            for found, lines in follow(activities, ref):
                for line in lines:
                    viewer.line(line)
                viewer.change(found)
    finally:
        viewer.close()
    if found.state != "succeeded":
        if output != "json":
            click.echo(f"inferry: {found.state}: {printable(found.cause or '')}", err=True)
        ctx.exit(1)


def follow(
    activities: Activities, ref: str, wait: Callable[[float], object] = time.sleep
) -> Iterator[tuple[Activity, list[str]]]:
    """How an activity is, now and then until it has ended, and what it said since the last time."""
    offset, rest = 0, b""
    while True:
        found = activities.get(ref)
        said = activities.log(found.id, offset)
        offset += len(said)
        *lines, rest = (rest + said).split(b"\n")
        if not found.is_running and rest:
            lines.append(rest)
        yield found, [line.decode(errors="replace") for line in lines]
        if not found.is_running:
            return
        ref = found.id
        wait(LOOK_EVERY_S)


class _Viewer:
    """For people: the log on stdout, the phases on stderr."""

    def __init__(self) -> None:
        self._progress = PhaseBar() if sys.stderr.isatty() else phase_lines()

    def line(self, line: str) -> None:
        self._progress.say(printable(line))

    def change(self, found: Activity) -> None:
        self._progress(found)

    def close(self) -> None:
        self._progress.close()


class _JsonViewer:
    """For programs: ``{"log": LINE}`` and ``{"activity": RECORD}``, each on a line."""

    def __init__(self) -> None:
        self._last: Activity | None = None

    def line(self, line: str) -> None:
        click.echo(json.dumps({"log": line}))

    def change(self, found: Activity) -> None:
        if found != self._last:
            click.echo(json.dumps({"activity": record(found)}))
        self._last = found

    def close(self) -> None:
        """Nothing is open."""


def _progress(item: Activity) -> str:
    """Of the phase, while it runs."""
    if not item.is_running or not (item.total or item.done):
        return ""
    return amount(item.done, item.total)


@contextmanager
def _activities(workspace_dir: str | None) -> Iterator[Activities]:
    with open_workspace(workspace_dir) as workspace:
        yield workspace.activities
