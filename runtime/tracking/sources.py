"""What a script uploads, as files to read."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from registry import tree
from registry.errors import InvalidSourceError
from registry.tracking import words
from registry.tree import SourceFile

CHUNK_BYTES = 1024 * 1024
Sources = Mapping[str, SourceFile]
"""By their path in the run."""


@contextmanager
def of_file(name: str, path_or_stream: Any) -> Iterator[Sources]:
    """One file: a path, or something to read bytes from. Raises InvalidNameError,
    InvalidSourceError."""
    words.check_path(name)
    if not callable(getattr(path_or_stream, "read", None)):
        path = Path(path_or_stream)
        if path.is_dir():
            raise InvalidSourceError(f"'{path}' is a folder; use upload_folder")
        (found,) = tree.walk(path)
        yield {name: found}
        return
    with tempfile.TemporaryDirectory() as folder:
        with (Path(folder) / "stream").open("wb") as file:
            while chunk := path_or_stream.read(CHUNK_BYTES):
                file.write(chunk)
            size = file.tell()
        yield {name: SourceFile("stream", Path(folder), size)}


def of_folder(name: str, path: Path | str) -> Sources:
    """All files of a folder, below ``name``. Raises InvalidNameError, InvalidSourceError."""
    base = words.check_folder(name)
    folder = Path(path)
    if not folder.is_dir():
        raise InvalidSourceError(f"'{folder}' is no folder; use upload_file")
    return {
        words.check_path(f"{base}/{file.path}" if base else file.path): file
        for file in tree.walk(folder)
    }
