"""``inferry image ...``."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from runtime.cli.command_line import begun_here
from runtime.cli.fpga_options import NAMES as FPGA_NAMES
from runtime.cli.fpga_options import build_options
from runtime.cli.fpga_report import headline
from runtime.cli.image_fpga import create_fpga, facts_of, refuse_others
from runtime.cli.output import Json, Record, output_option, print_done, print_record, print_records
from runtime.cli.progress import activity_progress
from runtime.cli.run_records import lines_record
from runtime.cli.text import printable_lines, size
from runtime.cli.transfer_activity import transfer
from runtime.cli.values import pairs
from runtime.cli.workspace import open_workspace, workspace_option
from runtime.errors import BadValueError

if TYPE_CHECKING:
    from registry import Image

COLUMNS = ("name", "version", "kind", "state", "models", "created_at", "tags")
FILE = click.Path(path_type=Path)


@click.group()
def image() -> None:
    """Package models with a script, and keep the packages.

    An image is NAME:VERSION; NAME alone means its latest version."""


@image.command()
@click.argument("name")
@click.option(
    "--model",
    "models",
    multiple=True,
    required=True,
    metavar="NAME[:VERSION|@ALIAS]",
    help="May repeat.",
)
@click.option("--script", type=FILE, metavar="FILE", help="The scoring script (init and run).")
@click.option("--source", type=FILE, metavar="DIR", help="The folder that holds the script's code.")
@click.option("--requirements", type=FILE, metavar="FILE", help="pip requirements of the script.")
@click.option("--conda", type=FILE, metavar="FILE", help="Or its conda environment.")
@click.option(
    "--kind",
    type=click.Choice(["docker", "fpga"]),
    default="docker",
    show_default=True,
    help="A container (or its bundle), or a compiled model for an FPGA.",
)
@click.option(
    "--base",
    envvar="INFERRY_BASE",
    metavar="REF",
    help="What the container starts from: a registry reference, docker:NAME of the Docker Engine,"
    " oci:DIR, or the .tar of a root file system; none makes a bundle without container."
    " [default: $INFERRY_BASE, else the workspace's]",
)
@click.option(
    "--platform",
    type=click.Choice(["linux/amd64", "linux/arm64"]),
    help="What it runs on. [default: as this machine]",
)
@click.option(
    "--dockerfile",
    type=FILE,
    metavar="FILE",
    help="Makes the base with the Docker Engine, for what wheels cannot give.",
)
@click.option(
    "--wheelhouse", type=FILE, metavar="DIR", help="Take all wheels from this folder, no index."
)
@click.option(
    "--sample", type=FILE, metavar="FILE", help="A request body that the finished image must score."
)
@click.option(
    "--golden",
    type=FILE,
    metavar="FILE",
    help="Requests with known answers, which devices try before a new version serves (JSON).",
)
@click.option("--pull", is_flag=True, help="Look for a newer base.")
@click.option("--relock", is_flag=True, help="Look for newer Python packages.")
@click.option("--no-proof", is_flag=True, help="Do not try whether the finished image scores.")
@click.option("--tag", "tags", multiple=True, metavar="KEY=VALUE", help="Can change; may repeat.")
@click.option("--description", default="", help="What it is, for people.")
@click.option("--max-batch", type=click.IntRange(min=1), help="Most rows that run at once.")
@build_options
@output_option
@workspace_option
@click.pass_context
def create(
    context: click.Context,
    /,
    name: str,
    kind: str,
    tags: tuple[str, ...],
    models: tuple[str, ...],
    no_proof: bool,
    output: str,
    workspace_dir: str | None,
    **options: Any,
) -> None:
    """Package models, with the script that scores them if they need one, as image NAME.

    The image is a container that serves on port 5001. It is made without a container engine and
    without root, and it is tried before it counts as made.

    With --kind fpga it is one model, compiled for an FPGA as inferry fpga build does, with
    --calibration, --lanes and the options after it; there is no container and no script."""
    refuse_others(context, kind)
    fpga_options = {key: options.pop(key) for key in FPGA_NAMES}
    if kind == "fpga":
        with begun_here():
            made, report = create_fpga(
                name,
                models=list(models),
                tags=pairs(tags, "tag"),
                description=options["description"],
                max_batch=options["max_batch"],
                golden=options["golden"],
                options=fpga_options,
                output=output,
                workspace_dir=workspace_dir,
            )
        with open_workspace(workspace_dir) as workspace:
            facts = facts_of(workspace, made)
        _print_made(made, facts, output)
        if output != "json":
            click.echo(f"{headline(report)}: inferry fpga report {made.reference}")
        return
    if options["requirements"] and options["conda"]:
        raise click.UsageError("--requirements and --conda exclude each other")
    if options["dockerfile"] and options["base"] not in (None, os.environ.get("INFERRY_BASE")):
        raise click.UsageError("--dockerfile makes the base, so --base makes no sense with it")
    with open_workspace(workspace_dir) as workspace, begun_here():
        made = workspace.images.create(
            name,
            models=list(models),
            tags=pairs(tags, "tag"),
            proof=not no_proof,
            on_change=activity_progress(output),
            **options,
        )
    _print_made(made, None, output)
    if output != "json" and made.details.proof is not None:
        click.echo(f"Proof: {made.details.proof}")


def _print_made(made: Image, facts: Record | None, output: str) -> None:
    if output == "json":
        print_record(record(made, facts), output)
    else:
        click.echo(f"Created {made.name}:{made.version}, digest {made.digest}")


@image.command("list")
@click.option("--name", help="Only this image's versions.")
@click.option(
    "--tag", "tags", multiple=True, metavar="KEY[=VALUE]", help="Only with this tag; may repeat."
)
@click.option("--latest", is_flag=True, help="Only the latest version of each.")
@click.option("--limit", type=click.IntRange(1, 1_000_000), help="At most so many; default: all.")
@output_option
@workspace_option
def list_images(
    name: str | None,
    tags: tuple[str, ...],
    latest: bool,
    limit: int | None,
    output: str,
    workspace_dir: str | None,
) -> None:
    """List the images, newest version last."""
    with open_workspace(workspace_dir) as workspace:
        found = workspace.images.list(name=name, tags=list(tags), latest=latest, limit=limit)
        facts = [facts_of(workspace, item) for item in found]
    rows = [record(item, each) for item, each in zip(found, facts, strict=True)]
    if output != "json":
        rows = [{**row, "kind": _kind(row["kind"], row["fpga"])} for row in rows]
    print_records(rows, COLUMNS, output)


@image.command()
@click.argument("ref", metavar="NAME[:VERSION]")
@output_option
@workspace_option
def show(ref: str, output: str, workspace_dir: str | None) -> None:
    """Show all that is known of an image."""
    with open_workspace(workspace_dir) as workspace:
        found = workspace.images.get(ref)
        facts = facts_of(workspace, found)
        lines = lines_record(workspace.lineage.of_image(found.reference))
    shown = record(found, facts) if output == "json" else overview(found, facts)
    print_record({**shown, **lines}, output)


@image.command()
@click.argument("ref", metavar="NAME[:VERSION]")
@click.argument("tags", nargs=-1, metavar="[KEY=VALUE]...")
@click.option("--remove", multiple=True, metavar="KEY", help="Remove this tag; may repeat.")
@output_option
@workspace_option
def tag(
    ref: str, tags: tuple[str, ...], remove: tuple[str, ...], output: str, workspace_dir: str | None
) -> None:
    """Set and remove tags of an image."""
    if not (tags or remove):
        raise click.UsageError("say a KEY=VALUE to set or --remove KEY")
    with open_workspace(workspace_dir) as workspace:
        found = workspace.images.tag(ref, set=pairs(tags, "tag"), remove=list(remove))
    print_done(record(found), f"Tagged {found.name}:{found.version}", output)


@image.command()
@click.argument("ref", metavar="NAME[:VERSION]")
@output_option
@workspace_option
def delete(ref: str, output: str, workspace_dir: str | None) -> None:
    """Delete one version of an image, which frees its models for deletion.

    Of several versions, say which."""
    with open_workspace(workspace_dir) as workspace:
        gone = workspace.images.delete(ref)
    said = f"Deleted {gone.reference}; inferry purge frees its space"
    print_done(record(gone), said, output)


@image.command()
@click.argument("ref", metavar="NAME[:VERSION]")
@workspace_option
def log(ref: str, workspace_dir: str | None) -> None:
    """Print how an image was made, or why it was not."""
    with open_workspace(workspace_dir) as workspace:
        click.echo(printable_lines(workspace.images.get(ref).log))


@image.command()
@click.argument("ref", metavar="NAME[:VERSION]")
@workspace_option
def lock(ref: str, workspace_dir: str | None) -> None:
    """Print the Python packages of an image, with hashes.

    It is a requirements file: --requirements makes the same set again, anywhere and any day."""
    with open_workspace(workspace_dir) as workspace:
        found = workspace.images.get(ref)
    if found.details.lock is None:
        raise BadValueError(f"image {found.reference} has no Python packages of its own")
    click.echo(found.details.lock, nl=False)


@image.command()
@click.argument("ref", metavar="NAME[:VERSION]")
@click.argument("target", metavar="REGISTRY/NAME[:TAG]")
@click.option("--insecure", is_flag=True, help="Plain HTTP to a registry on another machine.")
@click.option("--ca", type=FILE, metavar="FILE", help="Certificates of authorities to trust.")
@output_option
@workspace_option
def push(
    ref: str, target: str, insecure: bool, ca: Path | None, output: str, workspace_dir: str | None
) -> None:
    """Copy an image, its SBOM and its signature to another registry.

    Logs in as docker login, podman login or $INFERRY_REGISTRY_USER and _PASSWORD say. Sends only
    what is not there."""
    with (
        open_workspace(workspace_dir) as workspace,
        transfer(
            workspace, "push", f"{ref} to {target.rpartition('@')[2]}", "Pushing", output
        ) as shown,
    ):
        pushed = workspace.images.push(
            ref, target, insecure=insecure, ca_file=ca, on_progress=shown
        )
    if output == "json":
        print_record(
            {
                "digest": pushed.digest,
                "blobs_sent": pushed.blobs_sent,
                "blobs_skipped": pushed.blobs_skipped,
                "size_bytes": pushed.bytes_sent,
            },
            output,
        )
        return
    click.echo(
        f"Pushed {target}, digest {pushed.digest}: sent {size(pushed.bytes_sent)} in"
        f" {pushed.blobs_sent} blobs, {pushed.blobs_skipped} were there"
    )


@image.command()
@click.argument("ref", metavar="NAME[:VERSION]")
@click.argument("target", type=FILE)
@click.option(
    "--format",
    "form",
    type=click.Choice(["oci", "docker"]),
    default="oci",
    show_default=True,
    help="An OCI layout (a folder, or a .tar), or a .tar for docker load.",
)
@click.option("--force", is_flag=True, help="Overwrite TARGET.")
@output_option
@workspace_option
def export(
    ref: str, target: Path, form: str, force: bool, output: str, workspace_dir: str | None
) -> None:
    """Write an image as the file or folder TARGET."""
    with (
        open_workspace(workspace_dir) as workspace,
        transfer(workspace, "export", f"{ref} to {target.name}", "Writing", output) as shown,
    ):
        written = workspace.images.export(
            ref,
            target,
            format="docker" if form == "docker" else "oci",
            force=force,
            on_progress=shown,
        )
    if output == "json":
        print_record({"path": str(written), "format": form}, output)
    else:
        click.echo(f"Wrote {written}")


@image.command()
@click.argument("ref", metavar="NAME[:VERSION]")
@click.option(
    "--key",
    "keys",
    multiple=True,
    metavar="FILE|ed25519:...",
    help="The public key to trust. [default: the workspace's]",
)
@output_option
@workspace_option
def verify(ref: str, keys: tuple[str, ...], output: str, workspace_dir: str | None) -> None:
    """Check every byte of an image, its signature and its SBOM."""
    with open_workspace(workspace_dir) as workspace:
        verified = workspace.images.verify(ref, keys=list(keys))
    stated = verified.statement
    signers = [key.key_id for key in verified.keys]
    if output == "json":
        print_record(
            {
                "name": stated.name,
                "version": stated.version,
                "digest": stated.manifest_digest,
                "platform": stated.platform,
                "keys": signers,
                "lock_digest": stated.lock_digest,
                "sbom_digest": stated.sbom_digest,
            },
            output,
        )
        return
    click.echo(
        f"Verified {stated.reference}, digest {stated.manifest_digest},"
        f" signed by key {', '.join(signers)}"
    )


def _kind(kind: Json, facts: Json) -> str:
    """fpga (simulation)"""
    return f"{kind} ({facts['provenance']})" if isinstance(facts, dict) else str(kind)


def overview(image: Image, facts: Record | None) -> Record:
    """An image for people: what is long has commands of its own."""
    known: dict[str, Json] = {
        key: value for key, value in record(image).items() if value not in (None, [], {}, "")
    }
    if facts is not None:
        known |= {"part": facts["part"], "bitstream": facts["provenance"]}
        known |= {"boards": facts["boards"], "report": f"inferry fpga report {image.reference}"}
    layers = [
        f"{layer.kind:12}  {size(layer.size_bytes):>10}  {layer.title}"
        for layer in image.details.layers
    ]
    known.pop("log", None)
    if image.details.lock is not None:
        packages = len(image.details.lock.splitlines())
        known["lock"] = f"{packages} packages: inferry image lock {image.reference}"
    if layers:
        known["layers"] = layers
    known["size"] = size(image.size_bytes)
    known.pop("size_bytes", None)
    known["log"] = f"inferry image log {image.reference}"
    return known


def record(image: Image, facts: Record | None = None) -> Record:
    """An image as JSON has it. ``facts``: of an FPGA image."""
    details = image.details
    return {
        "name": image.name,
        "version": image.version,
        "kind": details.kind,
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
        "fpga": facts,
        "platform": details.platform,
        "base": details.base,
        "base_digest": details.base_digest,
        "python": details.python,
        "layers": [
            {
                "kind": layer.kind,
                "title": layer.title,
                "size_bytes": layer.size_bytes,
                "digest": layer.digest,
            }
            for layer in details.layers
        ],
        "lock": details.lock,
        "proof": details.proof,
        "revision": details.revision,
        "referrers": list(details.referrers),
        "activity": details.activity,
        "deployments": list(image.users),
        "tags": dict(image.tags),
        "log": image.log,
    }
