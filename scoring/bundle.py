"""The bundle: the folder that an image unpacks to, and all that the scoring server reads.

    bundle/
      bundle.json                  BundleFile below
      models/<name>/<version>/...  files exactly as registered
      code/...                     optional: the entry script and its source folder

``open_bundle`` also accepts a bare ``.onnx`` file and a plain model folder, for which it makes the
description up. registry/ writes the same JSON with its own types: the two packages meet on disk.
"""

from __future__ import annotations

from pathlib import Path

import msgspec

from scoring.errors import BundleError

SCHEMA_VERSION = 1


class ModelEntry(msgspec.Struct, frozen=True):
    """One model of a bundle. ``path`` is relative to the bundle, ``entry`` (the file to load, like
    model.onnx) relative to ``path``; None when there is no single ONNX file to load."""

    name: str
    version: int
    path: str
    entry: str | None = None


class BundleFile(msgspec.Struct, frozen=True):
    """bundle.json. ``engine``: "onnx", "script" or "module:Class"; ``entry_script`` is relative to
    code/. Unknown keys are ignored so that an older server reads a newer bundle of one schema."""

    schema_version: int
    name: str
    version: int
    engine: str
    models: list[ModelEntry]
    entry_script: str | None = None
    max_batch: int | None = None
    lock_digest: str | None = None


class Bundle(msgspec.Struct, frozen=True):
    """An opened bundle: its description and where it lies."""

    root: Path
    file: BundleFile

    @property
    def model_file(self) -> Path | None:
        """The file that a model engine loads: the first model's entry."""
        for model in self.file.models:
            if model.entry is not None:
                return self.root / model.path / model.entry
        return None

    @property
    def model_dir(self) -> Path:
        """What AZUREML_MODEL_DIR says: the model's own folder, or models/ when there are several
        (as Azure does it: learn.microsoft.com, "Locate deployed models")."""
        if len(self.file.models) == 1:
            return self.root / self.file.models[0].path
        return self.root / "models"

    @property
    def code_dir(self) -> Path:
        """AML_APP_ROOT of the bundle's script."""
        return self.root / "code"


def open_bundle(path: Path) -> Bundle:
    """The bundle at ``path``: a bundle folder, a folder with one ``.onnx`` file, or such a file.

    Raises BundleError, with what to do, when it is none of these."""
    if path.is_file():
        if path.suffix != ".onnx":
            raise BundleError(
                f"'{path.name}' is not an .onnx file; a script needs --script or a bundle"
            )
        return _bare(path.parent, path.name)
    if not path.is_dir():
        raise BundleError(f"there is no file or folder '{path}'")
    if (path / "bundle.json").is_file():
        return _read(path)
    files = sorted(path.glob("*.onnx"))
    if len(files) == 1:
        return _bare(path, files[0].name)
    found = "no .onnx file" if not files else f"{len(files)} .onnx files"
    raise BundleError(f"'{path}' has no bundle.json and {found}: name the file to serve")


def _bare(root: Path, entry: str) -> Bundle:
    model = ModelEntry(name=Path(entry).stem, version=1, path=".", entry=entry)
    return Bundle(root.resolve(), BundleFile(SCHEMA_VERSION, model.name, 1, "onnx", [model]))


def _read(root: Path) -> Bundle:
    try:
        file = msgspec.json.decode((root / "bundle.json").read_bytes(), type=BundleFile)
    except msgspec.MsgspecError as error:
        raise BundleError(f"bundle.json in '{root}' is damaged: {error}") from error
    if file.schema_version != SCHEMA_VERSION:
        raise BundleError(
            f"bundle.json has schema version {file.schema_version}; this server reads"
            f" {SCHEMA_VERSION}"
        )
    for inner in [m.path for m in file.models] + (
        [f"code/{file.entry_script}"] if file.entry_script else []
    ):
        if not (root / inner).resolve().is_relative_to(root.resolve()):
            raise BundleError(f"bundle.json points outside the bundle: '{inner}'")
    return Bundle(root.resolve(), file)
