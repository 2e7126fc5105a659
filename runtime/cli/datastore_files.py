"""``inferry datastore upload|download|ls|delete``: files to and from a datastore."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import click

from runtime.cli.output import Record, output_option, print_done, print_record, print_records
from runtime.cli.text import size
from runtime.cli.transfer_activity import transfer
from runtime.cli.workspace import open_workspace, workspace_option

if TYPE_CHECKING:
    from registry import Workspace
    from runtime.datastores import Datastore, Item, Report

F = TypeVar("F", bound=Callable[..., object])
overwrite_option = click.option(
    "--overwrite", is_flag=True, help="Replace what is there with other content."
)


def datastore_option(command: F) -> F:
    """Adds ``--datastore`` to a command, which receives it as ``name``."""
    option = click.option(
        "--datastore", "-d", "name", metavar="NAME", help="Which datastore. [default: the default]"
    )
    return option(command)


@click.command()
@click.argument("source", type=click.Path(path_type=Path))
@click.argument("path", default="")
@datastore_option
@overwrite_option
@click.option("--follow-links", is_flag=True, help="Send what symbolic links point to.")
@output_option
@workspace_option
def upload(
    source: Path,
    path: str,
    name: str | None,
    overwrite: bool,
    follow_links: bool,
    output: str,
    workspace_dir: str | None,
) -> None:
    """Send the file SOURCE, or all below that folder, to the folder PATH of the datastore.

    What is there already is not sent again; other content in its place is refused."""
    with (
        open_workspace(workspace_dir) as workspace,
        _opened(workspace, name) as store,
        transfer(
            workspace, "upload", f"{source.resolve().name} to {store.name}", "Uploading", output
        ) as on_progress,
    ):
        report = store.upload(
            source, path, overwrite=overwrite, follow_links=follow_links, on_progress=on_progress
        )
    _print_report("Uploaded", report, output)


@click.command()
@click.argument("path")
@click.argument("target", type=click.Path(path_type=Path))
@datastore_option
@overwrite_option
@output_option
@workspace_option
def download(
    path: str,
    target: Path,
    name: str | None,
    overwrite: bool,
    output: str,
    workspace_dir: str | None,
) -> None:
    """Fetch the file PATH of the datastore, or all below that folder, into the folder TARGET.

    PATH . is all. A file gets, below TARGET, the path that it has in the datastore. What is there
    already is not fetched again; other content in its place is refused."""
    with (
        open_workspace(workspace_dir) as workspace,
        _opened(workspace, name) as store,
        transfer(
            workspace, "download", f"{path} from {store.name}", "Downloading", output
        ) as on_progress,
    ):
        report = store.download(target, path, overwrite=overwrite, on_progress=on_progress)
    _print_report("Downloaded", report, output)


@click.command()
@click.argument("path", default="")
@datastore_option
@output_option
@workspace_option
def ls(path: str, name: str | None, output: str, workspace_dir: str | None) -> None:
    """List the files below PATH, or all."""
    with open_workspace(workspace_dir) as workspace, _opened(workspace, name) as store:
        found = [_record(item) for item in store.ls(path)]
    print_records(found, ("path", "size_bytes", "modified_at"), output)


@click.command()
@click.argument("path")
@datastore_option
@click.option("--recursive", "-r", is_flag=True, help="All below a folder.")
@output_option
@workspace_option
def delete(
    path: str, name: str | None, recursive: bool, output: str, workspace_dir: str | None
) -> None:
    """Delete the file PATH of the datastore."""
    with open_workspace(workspace_dir) as workspace, _opened(workspace, name) as store:
        count = store.delete(path, recursive=recursive)
    print_done({"path": path, "files": count}, f"Deleted {_files(count)}", output)


@contextmanager
def _opened(workspace: Workspace, name: str | None) -> Iterator[Datastore]:
    from runtime.datastores import Datastore

    of_name = None if name is None else Datastore.get(workspace, name)
    with of_name or Datastore.get_default(workspace) as store:
        yield store


def _print_report(verb: str, report: Report, output: str) -> None:
    if output == "json":
        print_record(
            {
                "sent": list(report.sent),
                "kept": list(report.kept),
                "size_bytes": report.size_bytes,
            },
            output,
        )
        return
    kept = f"; {_files(len(report.kept))} there already" if report.kept else ""
    click.echo(f"{verb} {_files(len(report.sent))} ({size(report.size_bytes)}){kept}")


def _files(count: int) -> str:
    return "1 file" if count == 1 else f"{count} files"


def _record(item: Item) -> Record:
    changed = item.modified_s
    at = None
    if changed is not None:
        at = datetime.fromtimestamp(changed, UTC).isoformat(timespec="seconds")
        at = at.replace("+00:00", "Z")
    return {"path": item.path, "size_bytes": item.size_bytes, "modified_at": at}
