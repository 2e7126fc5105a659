"""What MODEL and FOLDER|IMAGE of ``inferry fpga`` mean, laid out as a file or a folder for as long
as a block runs."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from runtime.cli.workspace import open_workspace
from runtime.errors import BadValueError
from runtime.serving import Kind, Target, choose, explicit


@contextmanager
def model_file(what: str, workspace_dir: str | None) -> Iterator[Path]:
    """The .onnx file: a path, or a model of the workspace. Raises BadValueError, ModelError."""
    from fpga.build import onnx_file  # onnx: 0.3 s

    target = explicit(what) or _asked(what, workspace_dir, is_model=True)
    if target.kind is Kind.IMAGE:
        raise BadValueError(f"'{what}' is an image, which is made already; name its model")
    if target.kind is Kind.PATH:
        path = Path(target.value)
        yield onnx_file(path) if path.is_dir() else path
        return
    with (
        tempfile.TemporaryDirectory(prefix="inferry-fpga-") as name,
        open_workspace(workspace_dir) as workspace,
    ):
        yield onnx_file(workspace.models.download(target.value, Path(name) / "model"))


@contextmanager
def compiled_folder(what: str, workspace_dir: str | None) -> Iterator[Path]:
    """The folder with program.json: a path, a bundle's path, or an image of the workspace. Raises
    BadValueError."""
    target = explicit(what) or _asked(what, workspace_dir, is_model=False)
    if target.kind is Kind.MODEL:
        raise BadValueError(f"'{what}' is a model; build it first: inferry fpga build")
    if target.kind is Kind.PATH:
        yield _within(Path(target.value))
        return
    with (
        tempfile.TemporaryDirectory(prefix="inferry-fpga-") as name,
        open_workspace(workspace_dir) as workspace,
    ):
        image = workspace.images.get(target.value)
        if image.details.kind != "fpga":
            raise BadValueError(f"image {image.reference} is no FPGA image")
        yield _within(workspace.images.unpack(image.reference, Path(name) / "bundle"))


def _within(folder: Path) -> Path:
    """Where program.json lies: there, or in the bundle's folder for it."""
    for place in (folder, folder / "fpga"):
        if (place / "program.json").is_file():
            return place
    raise BadValueError(f"'{folder}' is no compiled model: it has no program.json")


def _asked(what: str, workspace_dir: str | None, *, is_model: bool) -> Target:
    """A path needs no workspace."""
    from registry.errors import NotFoundError, RegistryError

    def is_there(get: Callable[[str], object]) -> bool:
        try:
            get(what)
        except NotFoundError:
            return False
        return True

    is_path, is_named = Path(what).exists(), False
    try:
        with open_workspace(workspace_dir) as workspace:
            is_named = is_there(workspace.models.get if is_model else workspace.images.get)
    except RegistryError:
        if not is_path:
            raise
    return choose(
        what, is_path=is_path, is_model=is_named and is_model, is_image=is_named and not is_model
    )
