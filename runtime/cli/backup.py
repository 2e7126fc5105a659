"""``inferry backup`` and ``inferry restore``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from runtime.cli.command_line import begun_here
from runtime.cli.output import output_option, print_json, print_records
from runtime.cli.progress import PhaseBar, activity_progress
from runtime.cli.text import printable, size
from runtime.cli.workspace import open_workspace, workspace_option

if TYPE_CHECKING:
    from registry.backup import Made, Restored, Snapshot, Verified
    from runtime.cli.output import Record

_PATH = click.Path(path_type=Path)
COLUMNS = ("id", "made_at", "size_bytes", "has_keys", "models", "images", "runs", "deployments")
SHOWN = 20


@click.command()
@click.argument("target", metavar="DIR|FILE.tar", type=_PATH)
@click.option(
    "--with-keys",
    is_flag=True,
    help="Also the keys that open its secrets and sign in its name; keep such a backup safe.",
)
@click.option(
    "--keep",
    type=click.IntRange(1, 10_000),
    default=3,
    show_default=True,
    help="How many snapshots the folder keeps.",
)
@click.option("--rehash", is_flag=True, help="Also mend what is damaged in the folder.")
@click.option(
    "--despite-damage", is_flag=True, help="Without the stored files that are damaged here."
)
@click.option("--verify", is_flag=True, help="Make none: read all of the one that is there.")
@click.option("--list", "is_list", is_flag=True, help="Make none: list its snapshots.")
@output_option
@workspace_option
@click.pass_context
def backup(
    ctx: click.Context,
    target: Path,
    with_keys: bool,
    keep: int,
    rehash: bool,
    despite_damage: bool,
    verify: bool,
    is_list: bool,
    output: str,
    workspace_dir: str | None,
) -> None:
    """Back up the workspace while it is in use.

    To a folder or a .tar file. The folder gets what it does not have yet, and a snapshot of what
    was where. Keys are left out unless --with-keys is given. Restore with: inferry restore"""
    if verify and is_list:
        raise click.UsageError("--verify and --list do not go together")
    if verify:
        ctx.exit(_verify(target, output))
    elif is_list:
        _list(target, output)
    else:
        with open_workspace(workspace_dir) as workspace:
            root, activities = workspace.root, workspace.activities
        from registry.backup import back_up

        shown = activity_progress(output)
        with begun_here(), activities.start("backup", target.name, shown) as activity:
            made = back_up(
                root,
                target,
                with_keys=with_keys,
                despite_damage=despite_damage,
                rehash=rehash,
                keep=keep,
                watcher=activity,
                made_by=_version(),
            )
            _say_made(made, target, output)


@click.command()
@click.argument("source", metavar="BACKUP", type=_PATH)
@click.argument("target", metavar="DIR", type=_PATH)
@click.option(
    "--snapshot", metavar="ID", help="Which one, of inferry backup --list. [default: newest]"
)
@click.option(
    "--despite-damage", is_flag=True, help="Without the stored files that are damaged there."
)
@output_option
def restore(
    source: Path, target: Path, snapshot: str | None, despite_damage: bool, output: str
) -> None:
    """Make a new workspace from a backup: checked, and whole or not at all."""
    from registry.backup import restore as run

    watcher = None if output == "json" else _Shown()
    try:
        done = run(
            source, target, snapshot=snapshot, despite_damage=despite_damage, watcher=watcher
        )
    finally:
        if watcher is not None:
            watcher.close()
    _say_restored(done, target, output)


class _Shown:
    """A Watcher that shows an activity which no workspace has."""

    def __init__(self) -> None:
        from registry.activities import Activity
        from registry.clock import utc_now

        self._show = activity_progress("table")
        self._now = Activity("", "restore", "", "running", "", 0, 0, None, utc_now(), None)

    def phase(self, name: str, total: int = 0) -> None:
        """As of a Watcher."""
        self._change(phase=name, done=0, total=total)

    def advance(self, count: int) -> None:
        """As of a Watcher."""
        self._change(done=self._now.done + count)

    def close(self) -> None:
        """The bar goes."""
        if isinstance(self._show, PhaseBar):
            self._show.close()

    def _change(self, **changes: object) -> None:
        from dataclasses import replace

        self._now = replace(self._now, **changes)  # type: ignore[arg-type]
        if self._show is not None:
            self._show(self._now)


def _verify(target: Path, output: str) -> int:
    """The exit code."""
    from registry.backup import verify as run

    watcher = None if output == "json" else _Shown()
    try:
        found = run(target, watcher)
    finally:
        if watcher is not None:
            watcher.close()
    if output == "json":
        print_json(_verified_record(found))
    else:
        for line in found.damaged[:SHOWN]:
            click.echo(f"damaged  {printable(line)}")
        if len(found.damaged) > SHOWN:
            click.echo(f"and {len(found.damaged) - SHOWN} more")
        click.echo(
            f"Read {len(found.snapshots)} snapshots, {found.files} files, {size(found.size_bytes)}:"
            f" {f'{len(found.damaged)} damaged' if found.damaged else 'all whole'}"
        )
        if found.lost:
            click.echo(f"{len(found.lost)} stored files were lost before they were backed up")
    return 1 if found.damaged else 0


def _list(target: Path, output: str) -> None:
    from registry.backup.opening import reading

    with reading(target) as source:
        records = [snapshot_record(source.snapshot(id)) for id in source.ids()]
    print_records(records, COLUMNS, output)


def snapshot_record(found: Snapshot) -> Record:
    """A snapshot as JSON has it."""
    return {
        "id": found.id,
        "made_at": found.made_at,
        "made_by": found.made_by,
        "size_bytes": found.size_bytes,
        "has_keys": found.has_keys,
        "lost": list(found.lost),
        **found.counts,
    }


def _say_made(made: Made, target: Path, output: str) -> None:
    if output == "json":
        print_json(
            {
                **snapshot_record(made.snapshot),
                "new_files": made.new_files,
                "new_bytes": made.new_bytes,
                "left_out": list(made.left_out),
            }
        )
        return
    click.echo(
        f"Backed up to {target}: snapshot {made.snapshot.id},"
        f" {size(made.snapshot.size_bytes)}, of which {size(made.new_bytes)} are new"
    )
    for path in made.left_out[:SHOWN]:
        click.echo(f"left out, as no backup knows it or it is no plain file: {printable(path)}")
    if len(made.left_out) > SHOWN:
        click.echo(f"and {len(made.left_out) - SHOWN} more")
    for digest in made.snapshot.lost[:SHOWN]:
        click.echo(f"lost, as the workspace has no whole one: {digest}")
    if not made.snapshot.has_keys:
        click.echo("Without keys: secrets cannot be opened where only this is; see --with-keys")


def _say_restored(done: Restored, target: Path, output: str) -> None:
    if output == "json":
        print_json(
            {
                **snapshot_record(done.snapshot),
                "damaged": list(done.damaged),
                "missing": list(done.missing),
            }
        )
        return
    counts = ", ".join(f"{count} {name}" for name, count in done.snapshot.counts.items())
    click.echo(f"Restored {target}: snapshot {done.snapshot.id}, {counts}")
    for digest in done.damaged[:SHOWN]:
        click.echo(f"damaged, and not there: {digest}")
    if len(done.damaged) > SHOWN:
        click.echo(f"and {len(done.damaged) - SHOWN} more")
    for line in done.missing:
        click.echo(f"The backup has no keys: {printable(line)}")


def _verified_record(found: Verified) -> Record:
    return {
        "snapshots": list(found.snapshots),
        "files": found.files,
        "size_bytes": found.size_bytes,
        "damaged": list(found.damaged),
        "lost": list(found.lost),
    }


def _version() -> str:
    from importlib.metadata import version

    return f"inferry {version('inferry')}"
