"""``inferry model ...``."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import click

from runtime.cli.model_alias import alias
from runtime.cli.output import Record, output_option, print_done, print_record, print_records
from runtime.cli.progress import OnProgress, progress
from runtime.cli.run_records import lines_record
from runtime.cli.text import size
from runtime.cli.transfer_activity import LARGE_BYTES, transfer
from runtime.cli.values import pairs
from runtime.cli.workspace import open_workspace, workspace_option

if TYPE_CHECKING:
    from registry import Workspace
    from registry.records import Model, Signature, TensorInfo

REF = "NAME[:VERSION|@ALIAS]"
COLUMNS = ("name", "version", "size_bytes", "created_at", "tags")
KEY_VALUE = "KEY=VALUE"


@click.group()
def model() -> None:
    """Register models and look after them.

    A model is NAME:VERSION, or NAME@ALIAS; NAME alone means its latest version."""


@model.command()
@click.argument("path", type=click.Path(path_type=Path))
@click.option("--name", required=True, help="A known name makes the next version.")
@click.option("--tag", "tags", multiple=True, metavar=KEY_VALUE, help="Can change; may repeat.")
@click.option(
    "--property",
    "properties",
    multiple=True,
    metavar=KEY_VALUE,
    help="Can never change; may repeat.",
)
@click.option("--description", default="", help="What it is, for people.")
@click.option(
    "--allow-pickle",
    is_flag=True,
    help="Also files that can run code when they are opened; the model says so from then on.",
)
@output_option
@workspace_option
def register(
    path: Path,
    name: str,
    tags: tuple[str, ...],
    properties: tuple[str, ...],
    description: str,
    allow_pickle: bool,
    output: str,
    workspace_dir: str | None,
) -> None:
    """Register the file or folder PATH as the next version of a model."""
    with (
        open_workspace(workspace_dir) as workspace,
        _progress(workspace, path, name, output) as shown,
    ):
        made = workspace.models.register(
            path,
            name=name,
            tags=pairs(tags, "tag"),
            properties=pairs(properties, "property"),
            description=description,
            allow_pickle=allow_pickle,
            on_progress=shown,
        )
        lines = workspace.lineage.of_model(made.reference)
    if output == "json":
        print_record({**record(made), "aliases": [], **lines_record(lines)}, output)
    else:
        click.echo(f"Registered {made.name}:{made.version}")


def _progress(
    workspace: Workspace, path: Path, name: str, output: str
) -> AbstractContextManager[OnProgress | None]:
    """Of many bytes, an activity; by URL, those of the service are."""
    from registry.errors import InvalidSourceError
    from registry.tree import walk

    size_bytes = 0
    with suppress(InvalidSourceError):  # which says so once more
        size_bytes = sum(file.size_bytes for file in walk(path))
    if size_bytes < LARGE_BYTES:
        return progress("Registering", output)
    subject = f"{name} from {path.resolve().name}"
    return transfer(workspace, "model", subject, "Registering", output)


@model.command("list")
@click.option("--name", help="Only this model's versions.")
@click.option(
    "--tag", "tags", multiple=True, metavar="KEY[=VALUE]", help="Only with this tag; may repeat."
)
@click.option("--latest", is_flag=True, help="Only the latest version of each.")
@click.option("--limit", type=click.IntRange(1, 1_000_000), help="At most so many; default: all.")
@output_option
@workspace_option
def list_models(
    name: str | None,
    tags: tuple[str, ...],
    latest: bool,
    limit: int | None,
    output: str,
    workspace_dir: str | None,
) -> None:
    """List the models, newest version last."""
    with open_workspace(workspace_dir) as workspace:
        found = workspace.models.list(name=name, tags=list(tags), latest=latest, limit=limit)
    print_records([record(item) for item in found], COLUMNS, output)


@model.command()
@click.argument("ref", metavar=REF)
@output_option
@workspace_option
def show(ref: str, output: str, workspace_dir: str | None) -> None:
    """Show all that is known of a model."""
    with open_workspace(workspace_dir) as workspace:
        found = workspace.models.get(ref)
        lines = lines_record(workspace.lineage.of_model(found.reference))
        known = workspace.aliases.of(found.name)
    meant = [alias for alias, version in known.items() if version == found.version]
    shown = record(found) if output == "json" else _for_people(found)
    print_record({**shown, "aliases": meant, **lines}, output)


@model.command()
@click.argument("ref", metavar=REF)
@click.argument("tags", nargs=-1, metavar="[KEY=VALUE]...")
@click.option("--remove", multiple=True, metavar="KEY", help="Remove this tag; may repeat.")
@click.option(
    "--property",
    "properties",
    multiple=True,
    metavar=KEY_VALUE,
    help="Add this property; it can never change.",
)
@output_option
@workspace_option
def tag(
    ref: str,
    tags: tuple[str, ...],
    remove: tuple[str, ...],
    properties: tuple[str, ...],
    output: str,
    workspace_dir: str | None,
) -> None:
    """Set and remove tags of a model; add properties."""
    if not (tags or remove or properties):
        raise click.UsageError("say a KEY=VALUE to set, --remove KEY or --property KEY=VALUE")
    with open_workspace(workspace_dir) as workspace:
        if properties:
            workspace.models.add_properties(ref, pairs(properties, "property"))
        if tags or remove:
            workspace.models.tag(ref, set=pairs(tags, "tag"), remove=list(remove))
        found = workspace.models.get(ref)
    print_done(record(found), f"Tagged {found.name}:{found.version}", output)


@model.command()
@click.argument("ref", metavar=REF)
@click.argument("target", metavar="DIR", type=click.Path(path_type=Path))
@output_option
@workspace_option
def download(ref: str, target: Path, output: str, workspace_dir: str | None) -> None:
    """Write a model's files, exactly as registered, to the new folder DIR."""
    with open_workspace(workspace_dir) as workspace:
        workspace.models.download(ref, target)
    print_done({"path": str(target)}, f"Wrote {target}", output)


@model.command()
@click.argument("ref", metavar=REF)
@output_option
@workspace_option
def delete(ref: str, output: str, workspace_dir: str | None) -> None:
    """Delete one version of a model; refused while an image uses it.

    Of several versions, say which."""
    with open_workspace(workspace_dir) as workspace:
        gone = workspace.models.delete(ref)
    said = f"Deleted {gone.reference}; inferry purge frees its space"
    print_done(record(gone), said, output)


model.add_command(alias)


def record(model: Model) -> Record:
    """A model as JSON has it."""
    return {
        "name": model.name,
        "version": model.version,
        "description": model.description,
        "created_at": model.created_at,
        "digest": model.digest,
        "size_bytes": model.size_bytes,
        "tags": dict(model.tags),
        "properties": dict(model.properties),
        "entry": model.entry,
        "signature": _signature(model.signature),
        "files": [
            {"path": file.path, "size_bytes": file.size_bytes, "digest": file.digest}
            for file in model.files
        ],
    }


def _signature(signature: Signature | None) -> Record | None:
    if signature is None:
        return None
    return {"inputs": _tensors(signature.inputs), "outputs": _tensors(signature.outputs)}


def _tensors(tensors: Sequence[TensorInfo]) -> list[Record]:
    return [{"name": t.name, "dtype": t.dtype, "shape": t.shape} for t in tensors]


def _for_people(model: Model) -> Record:
    """A model as the table of ``show`` has it: the same facts in fewer words."""
    signature = model.signature
    return {
        **record(model),
        "size_bytes": f"{model.size_bytes} ({size(model.size_bytes)})",
        "signature": [
            *(f"in   {_tensor(t)}" for t in (signature.inputs if signature else ())),
            *(f"out  {_tensor(t)}" for t in (signature.outputs if signature else ())),
        ],
        "files": [f"{file.path}  {size(file.size_bytes)}" for file in model.files],
    }


def _tensor(tensor: TensorInfo) -> str:
    if tensor.shape is None:
        return f"{tensor.name}: {tensor.dtype}"
    dims = ", ".join("?" if dim is None else str(dim) for dim in tensor.shape)
    return f"{tensor.name}: {tensor.dtype} [{dims}]"
