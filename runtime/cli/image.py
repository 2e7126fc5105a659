"""``inferry image ...``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from runtime.cli.output import Record, output_option, print_record, print_records
from runtime.cli.progress import progress
from runtime.cli.values import pairs
from runtime.cli.workspace import open_workspace, workspace_option

if TYPE_CHECKING:
    from registry import Image

COLUMNS = ("name", "version", "state", "models", "created_at", "tags")
FILE = click.Path(path_type=Path)


@click.group()
def image() -> None:
    """Package models with a script, and keep the packages.

    An image is NAME:VERSION; NAME alone means its latest version."""


@image.command()
@click.argument("name")
@click.option(
    "--model", "models", multiple=True, required=True, metavar="NAME[:VERSION]", help="May repeat."
)
@click.option("--script", type=FILE, metavar="FILE", help="The scoring script (init and run).")
@click.option("--source", type=FILE, metavar="DIR", help="The folder that holds the script's code.")
@click.option("--requirements", type=FILE, metavar="FILE", help="pip requirements of the script.")
@click.option("--conda", type=FILE, metavar="FILE", help="Or its conda environment.")
@click.option(
    "--kind", type=click.Choice(["docker"]), default="docker", show_default=True, help="Of image."
)
@click.option("--tag", "tags", multiple=True, metavar="KEY=VALUE", help="Can change; may repeat.")
@click.option("--description", default="", help="What it is, for people.")
@click.option("--max-batch", type=click.IntRange(min=1), help="Most rows that run at once.")
@output_option
@workspace_option
def create(
    name: str,
    models: tuple[str, ...],
    script: Path | None,
    source: Path | None,
    requirements: Path | None,
    conda: Path | None,
    kind: str,
    tags: tuple[str, ...],
    description: str,
    max_batch: int | None,
    output: str,
    workspace_dir: Path | None,
) -> None:
    """Package models, with the script that scores them if they need one, as image NAME."""
    if requirements and conda:
        raise click.UsageError("--requirements and --conda exclude each other")
    with open_workspace(workspace_dir) as workspace, progress("Packaging", output) as shown:
        made = workspace.images.create(
            name,
            models=list(models),
            script=script,
            source=source,
            requirements=requirements,
            conda=conda,
            tags=pairs(tags, "tag"),
            description=description,
            max_batch=max_batch,
            on_progress=shown,
        )
    if output == "json":
        print_record(record(made), output)
    else:
        click.echo(f"Created {made.name}:{made.version}, digest {made.digest}")


@image.command("list")
@click.option("--name", help="Only this image's versions.")
@click.option(
    "--tag", "tags", multiple=True, metavar="KEY[=VALUE]", help="Only with this tag; may repeat."
)
@click.option("--latest", is_flag=True, help="Only the latest version of each.")
@output_option
@workspace_option
def list_images(
    name: str | None, tags: tuple[str, ...], latest: bool, output: str, workspace_dir: Path | None
) -> None:
    """List the images, newest version last."""
    with open_workspace(workspace_dir) as workspace:
        found = workspace.images.list(name=name, tags=list(tags), latest=latest)
    print_records([record(item) for item in found], COLUMNS, output)


@image.command()
@click.argument("ref", metavar="NAME[:VERSION]")
@output_option
@workspace_option
def show(ref: str, output: str, workspace_dir: Path | None) -> None:
    """Show all that is known of an image."""
    with open_workspace(workspace_dir) as workspace:
        found = workspace.images.get(ref)
    print_record(record(found), output)


@image.command()
@click.argument("ref", metavar="NAME[:VERSION]")
@click.argument("tags", nargs=-1, metavar="[KEY=VALUE]...")
@click.option("--remove", multiple=True, metavar="KEY", help="Remove this tag; may repeat.")
@workspace_option
def tag(
    ref: str, tags: tuple[str, ...], remove: tuple[str, ...], workspace_dir: Path | None
) -> None:
    """Set and remove tags of an image."""
    if not (tags or remove):
        raise click.UsageError("say a KEY=VALUE to set or --remove KEY")
    with open_workspace(workspace_dir) as workspace:
        found = workspace.images.tag(ref, set=pairs(tags, "tag"), remove=list(remove))
    click.echo(f"Tagged {found.name}:{found.version}")


@image.command()
@click.argument("ref", metavar="NAME[:VERSION]")
@workspace_option
def delete(ref: str, workspace_dir: Path | None) -> None:
    """Delete one version of an image, which frees its models for deletion.

    Of several versions, say which."""
    with open_workspace(workspace_dir) as workspace:
        gone = workspace.images.delete(ref)
    click.echo(f"Deleted {gone.reference}; inferry purge frees its space")


def record(image: Image) -> Record:
    """An image as JSON has it."""
    return {
        "name": image.name,
        "version": image.version,
        "state": image.state,
        "cause": image.cause,
        "description": image.description,
        "created_at": image.created_at,
        "digest": image.digest,
        "size_bytes": image.size_bytes,
        "models": list(image.models),
        "engine": image.engine,
        "script": image.script,
        "requirements": image.requirements,
        "tags": dict(image.tags),
        "log": image.log,
    }
