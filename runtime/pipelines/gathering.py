"""What a step gets, as files: those of other steps are written out of the store, verified."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from registry import tree
from registry.errors import NotFoundError
from registry.selection import Selection
from registry.tracking import Tracking
from registry.tree import SourceFile
from runtime.pipelines.keys import chosen_files
from runtime.pipelines.port import Done
from runtime.pipelines.records import FOLDER
from runtime.pipelines.steps import Source


def gathered(
    tracking: Tracking, text: str, before: Mapping[str, Done], base: Path, scratch: Path
) -> Path:
    """The file or folder that the source ``text`` means; what is another step's lies below
    ``scratch``, a new folder. Raises NotFoundError, DamagedBlobError."""
    source = Source.of(text)
    if source.step is None:
        return base / source.path
    done = before[source.step]
    if not chosen_files(done.files, source.path):
        raise NotFoundError(
            f"step '{source.step}' wrote no file {FOLDER}/{source.path}"
            if source.path
            else f"step '{source.step}' wrote nothing to {FOLDER}/"
        )
    path = "/".join(part for part in (FOLDER, source.path) if part)
    tracking.files.download(done.run, scratch, folder=path)
    return scratch / path


def input_files(path: Path) -> dict[str, SourceFile]:
    """A file under its own name, or those of a folder by their path in it, without what an ignore
    file names. Raises InvalidSourceError."""
    wants = Selection(path).wants if path.is_dir() else lambda *_: True
    return {file.path: file for file in tree.walk(path, is_wanted=wants)}
