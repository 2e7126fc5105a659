"""``inferry run submit|rerun`` and ``inferry run snapshot ...``."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, TypedDict, TypeVar

import click

from runtime.cli.detached import detached, let_go
from runtime.cli.output import Record, output_option, print_done, print_record, print_records
from runtime.cli.progress import PhaseBar, activity_progress
from runtime.cli.run_records import duration, record
from runtime.cli.text import printable, printable_lines, size
from runtime.cli.values import pairs
from runtime.cli.workspace import is_url, open_workspace, workspace_option
from runtime.errors import BadValueError

if TYPE_CHECKING:
    from registry.activities import Activity
    from registry.tracking import RunRecord
    from registry.tree import SourceFile
    from runtime.submission import RunConfig

FILE_COLUMNS = ("path", "size", "digest")


F = TypeVar("F", bound=Callable[..., object])


def detach_option(command: F) -> F:
    """Adds ``--detach``, and what the process gets that then carries the run out."""
    for option in (
        click.option("--let-go", is_flag=True, hidden=True),
        click.option(
            "--detach",
            is_flag=True,
            help="Return once the run has begun, which goes on; see inferry run log --follow.",
        ),
    ):
        command = option(command)
    return command


class Hearing(TypedDict):
    """What ``submit`` tells of its progress."""

    on_line: Callable[[str], None]
    on_begin: Callable[[RunRecord], None]
    on_phase: Callable[[str, int, int], None]
    on_note: Callable[[str], None]


@click.command()
@click.argument("script", required=False, type=click.Path(path_type=Path))
@click.argument("arguments", nargs=-1, metavar="[-- ARGUMENT...]")
@click.option("--experiment", "-e", required=True, help="It appears if it is new.")
@click.option("--target", "-t", help="A name of inferry target list. [default: local]")
@click.option(
    "--config",
    "-c",
    "config_path",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="A run configuration, YAML or JSON.",
)
@click.option(
    "--folder",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    default=".",
    help="What is copied to the target; the script lies in it. [default: this one]",
)
@click.option("--name", default="", help="Of the run.")
@click.option("--tag", "tags", multiple=True, metavar="KEY=VALUE", help="May repeat.")
@click.option(
    "--input",
    "inputs",
    multiple=True,
    metavar="NAME=PATH",
    help="A file or folder that the script finds in inputs/NAME; may repeat.",
)
@detach_option
@output_option
@workspace_option
def submit(
    script: Path | None,
    arguments: tuple[str, ...],
    experiment: str,
    target: str | None,
    config_path: Path | None,
    folder: Path,
    name: str,
    tags: tuple[str, ...],
    inputs: tuple[str, ...],
    detach: bool,
    let_go: bool,
    output: str,
    workspace_dir: str | None,
) -> None:
    """Run SCRIPT of this folder on a target, and keep what it logs, prints and writes.

    The folder is snapshotted (but for what .inferryignore or .gitignore names), copied to the
    target and run there. What is said on the command line goes before the configuration. With a
    service's URL it is the service that runs it, or has it run."""
    from runtime.submission import submit as submit_run

    config = _config(config_path, script, folder, arguments, target)
    if detach and not is_url(workspace_dir):
        _detach(output, workspace_dir)
        return
    with open_workspace(workspace_dir) as workspace, _hearing(output, let_go) as hearing:
        found = submit_run(
            workspace,
            config,
            folder,
            experiment=experiment,
            name=name,
            tags=pairs(tags, "tag"),
            inputs={each: _input(path) for each, path in _inputs(inputs).items()},
            is_followed=not detach,
            **hearing,
        )
    _show_begun(found, output) if detach else _show(found, output)


@click.command()
@click.argument("ref", metavar="RUN")
@click.option("--target", "-t", help="Another one than before.")
@click.option("--name", help="Of the new run. [default: as before]")
@detach_option
@output_option
@workspace_option
def rerun(
    ref: str,
    target: str | None,
    name: str | None,
    detach: bool,
    let_go: bool,
    output: str,
    workspace_dir: str | None,
) -> None:
    """Submit a run once more: the same files, inputs and configuration."""
    from runtime.submission import rerun as rerun_run

    if detach and not is_url(workspace_dir):
        _detach(output, workspace_dir)
        return
    with open_workspace(workspace_dir) as workspace, _hearing(output, let_go) as hearing:
        found = rerun_run(
            workspace, ref, target=target, name=name, is_followed=not detach, **hearing
        )
    _show_begun(found, output) if detach else _show(found, output)


@click.group()
def snapshot() -> None:
    """See and fetch the files that a run was submitted with."""


@snapshot.command("download")
@click.argument("ref", metavar="RUN")
@click.argument("target", type=click.Path(path_type=Path))
@output_option
@workspace_option
def download_snapshot(ref: str, target: Path, output: str, workspace_dir: str | None) -> None:
    """Write the files to the new folder TARGET, or to a zip where its name ends so."""
    with open_workspace(workspace_dir) as workspace:
        snapshots = workspace.tracking.snapshots
        if target.suffix == ".zip":
            found = snapshots.download_zip(ref, target)
        else:
            found = snapshots.download(ref, target)
    known: Record = {
        "path": str(target),
        "files": len(found.files),
        "size_bytes": found.size_bytes,
    }
    said = f"Wrote {len(found.files)} files ({size(found.size_bytes)}) to {target}"
    print_done(known, said, output)


@snapshot.command("files")
@click.argument("ref", metavar="RUN")
@output_option
@workspace_option
def snapshot_files(ref: str, output: str, workspace_dir: str | None) -> None:
    """List the files."""
    with open_workspace(workspace_dir) as workspace:
        found = workspace.tracking.snapshots.of_run(ref).snapshot
    rows: list[Record] = [
        {
            "path": file.path,
            "size_bytes": file.size_bytes,
            "size": size(file.size_bytes),
            "digest": file.digest,
            "is_executable": file.is_executable,
        }
        for file in found.files
    ]
    print_records(rows, FILE_COLUMNS, output)


def _config(
    path: Path | None,
    script: Path | None,
    folder: Path,
    arguments: tuple[str, ...],
    target: str | None,
) -> RunConfig:
    """The file's, with what the command line says."""
    from runtime.submission.config import make_config, read_pairs

    given: dict[str, Any] = {} if path is None else read_pairs(path)
    if script is not None and "script" in given and script.suffix != ".py":
        arguments = (str(script), *arguments)
    elif script is not None:
        given["script"] = _in_folder(script, folder)
    if arguments:
        given["arguments"] = list(arguments)
    if target is not None:
        given["target"] = target
    if "script" not in given:
        raise click.UsageError("say a SCRIPT, or a --config that names one")
    return make_config(given, "the run configuration" if path is None else path.name)


def _in_folder(script: Path, folder: Path) -> str:
    """The path of the script in the folder."""
    try:
        return script.resolve().relative_to(folder.resolve()).as_posix()
    except ValueError:
        raise BadValueError(
            f"the script {str(script)!a} is not in the folder {str(folder)!a}; say --folder"
        ) from None


def _inputs(texts: tuple[str, ...]) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for text in texts:
        name, equals, path = text.partition("=")
        if not (name and equals and path) or name in found:
            raise BadValueError(f"--input {text[:60]!a} is no NAME=PATH, or is given twice")
        found[name] = Path(path)
    return found


def _input(path: Path) -> Mapping[str, SourceFile]:
    from registry import tree

    return {file.path: file for file in tree.walk(path)}


@contextmanager
def _hearing(output: str, lets_go: bool = False) -> Iterator[Hearing]:
    """Shows it. SIGTERM ends the run as Ctrl-C does. ``lets_go``: says only which run it is, and
    nothing more once its snapshot is kept."""
    show = activity_progress(output)
    is_json = output == "json"

    def begin(run: RunRecord) -> None:
        if lets_go:
            click.echo(run.id)
        else:
            click.echo(f"Run {run.reference}", err=True)

    def phase(name: str, done: int, total: int) -> None:
        nonlocal lets_go, show
        if lets_go and name != "Snapshot":
            lets_go, show = False, None
            let_go()
        if show is not None:
            show(_as_activity(name, done, total))
        if name == "Running" and isinstance(show, PhaseBar):
            show.close()

    before = signal.signal(signal.SIGTERM, _interrupt)
    try:
        yield {
            "on_line": lambda line: click.echo(printable_lines(line), err=is_json),
            "on_begin": begin,
            "on_phase": phase,
            "on_note": lambda line: click.echo(f"inferry: {printable(line)}", err=True),
        }
    finally:
        signal.signal(signal.SIGTERM, before)
        if show is not None and isinstance(show, PhaseBar):
            show.close()


def _as_activity(phase: str, done: int, total: int) -> Activity:
    from registry.activities import Activity

    return Activity("", "run", "", "running", phase, done, total, None, "", None)


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _detach(output: str, workspace_dir: str | None) -> None:
    """The same command, in a process of its own."""
    id = detached(click.get_current_context())
    with open_workspace(workspace_dir) as workspace:
        _show_begun(workspace.tracking.runs.get(id), output)


def _show_begun(run: RunRecord, output: str) -> None:
    if output == "json":
        print_record(record(run), output)
    else:
        click.echo(f"{run.reference} goes on; see inferry run log --follow {run.reference}")


def _show(run: RunRecord, output: str) -> None:
    """How it ended. Raises RunFailedError where that is not well."""
    from runtime.submission.errors import RunFailedError

    if output == "json":
        print_record(record(run), output)
    if run.status != "finished":
        raise RunFailedError(
            f"run {run.reference} {run.status}: {run.cause or 'it does not say why'}"
        )
    if output != "json":
        now_ms = time.time_ns() // 1_000_000
        took = duration((run.ended_ms or now_ms) - run.started_ms)
        click.echo(f"{run.reference} finished after {took}", err=True)
