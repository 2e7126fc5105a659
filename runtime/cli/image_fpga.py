"""``inferry image create --kind fpga``: the model is compiled within the image's activity."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import click
from click.core import ParameterSource

from runtime.cli.fpga_options import NAMES, check_bitstream, need_compiler, order_of
from runtime.cli.output import Record
from runtime.cli.progress import activity_progress
from runtime.cli.workspace import is_url, open_workspace
from runtime.errors import BadValueError

if TYPE_CHECKING:
    from fpga.report import Report
    from registry import Image, Workspace
    from runtime.remote import RemoteWorkspace

OF_CONTAINERS = (
    "script", "source", "requirements", "conda", "base", "platform", "dockerfile", "wheelhouse",
    "sample", "pull", "relock", "no_proof",
)  # fmt: skip
MOST_BATCH = 1024


def refuse_others(context: click.Context, kind: str) -> None:
    """Raises UsageError for options of the other kind. What the environment says is none."""
    others = OF_CONTAINERS if kind == "fpga" else NAMES
    said = [
        max(parameter.opts, key=len)
        for parameter in context.command.params
        if parameter.name in others
        and context.get_parameter_source(parameter.name) is ParameterSource.COMMANDLINE
    ]
    if not said:
        return
    reason = f"{', '.join(said)} cannot go with --kind {kind}"
    if kind == "fpga" and "--script" in said:
        reason += ": what comes before and after the model is its client's, or a docker image's"
    raise click.UsageError(reason)


def create_fpga(
    name: str,
    *,
    models: list[str],
    tags: Mapping[str, str],
    description: str,
    max_batch: int | None,
    golden: Path | None,
    options: Mapping[str, Any],
    output: str,
    workspace_dir: str | None,
) -> tuple[Image, Report]:
    """The image, and what its model costs; where the workspace is a service's, the service compiles
    it. Raises NoCompilerError, FpgaError, RegistryError."""
    check_bitstream(options)
    if max_batch is not None and max_batch > MOST_BATCH:
        raise click.UsageError(f"--max-batch is at most {MOST_BATCH} with --kind fpga")
    if is_url(workspace_dir):
        with open_workspace(workspace_dir) as found:
            # Of a service's workspace, the one method that is called in another way.
            remote = cast("RemoteWorkspace", found)
            made = remote.images.create_fpga(
                name,
                models=models,
                **{**options, "lanes": int(options["lanes"])},
                golden=golden,
                tags=tags,
                description=description,
                max_batch=max_batch,
                on_change=activity_progress(output),
            )
            from fpga.report import decoded

            return made, decoded(remote.images.report(made.reference))
    need_compiler()
    from registry.fpga_artifact import FpgaContents
    from registry.golden import read_golden
    from runtime.fpga_compiler.order import PROOF

    text = None if golden is None else read_golden(golden)
    reports: list[Report] = []
    with (
        tempfile.TemporaryDirectory(prefix="inferry-fpga-") as work,
        open_workspace(workspace_dir) as workspace,
    ):
        _check_files(workspace, models, options, max_batch)

        def make(model: Path, say: Callable[[str], None]) -> FpgaContents:
            reports.append(_compiled(model, Path(work) / "fpga", options, max_batch, say))
            return FpgaContents(Path(work) / "fpga", text, PROOF)

        made = workspace.images.create_fpga(
            name,
            models=models,
            make=make,
            tags=tags,
            description=description,
            on_change=activity_progress(output),
        )
    return made, reports[0]


def facts_of(workspace: Workspace, image: Image) -> Record | None:
    """What an FPGA image's manifest says of its bitstream; None of other images, and of one that
    was not made or cannot be read, as `inferry image verify` says."""
    if image.details.kind != "fpga" or image.digest is None:
        return None
    from registry.errors import RegistryError
    from registry.fpga_artifact import BOARDS, PART, PROVENANCE

    try:
        said = workspace.images.annotations(image.reference)
    except RegistryError:
        return None
    return {
        "part": said.get(PART, ""),
        "provenance": said.get(PROVENANCE, ""),
        "boards": [board for board in said.get(BOARDS, "").split(",") if board],
    }


def _check_files(
    workspace: Workspace, models: list[str], options: Mapping[str, Any], max_batch: int | None
) -> None:
    """What is wrong with them is refused before anything is recorded."""
    from runtime.fpga_compiler.order import check_files

    model = workspace.models.get(models[0])
    if model.entry is None:
        raise BadValueError(f"model {model.reference} has not just one .onnx file to compile")
    signature = model.signature
    name = signature.inputs[0].name if signature is not None and signature.inputs else ""
    check_files(order_of(Path(), options, max_batch), name)


def _compiled(
    model: Path,
    folder: Path,
    options: Mapping[str, Any],
    max_batch: int | None,
    say: Callable[[str], None],
) -> Report:
    """Raises InvalidSourceError, so that the image's record has the reason."""
    from fpga.build import build, onnx_file
    from fpga.errors import FpgaError
    from registry.errors import InvalidSourceError

    try:
        return build(order_of(onnx_file(model), options, max_batch), folder, say)
    except FpgaError as error:
        raise InvalidSourceError(str(error)) from error
