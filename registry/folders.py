"""Writes what the registry hands out: whole or not at all."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from registry.errors import TargetExistsError


@contextmanager
def new_folder(target: Path) -> Iterator[Path]:
    """A folder to fill, which becomes ``target`` at the end of the block, or nothing when it
    raises. Raises TargetExistsError when ``target`` is there and not an empty folder."""
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise TargetExistsError(f"'{target}' is there already; name a new folder")
    target.parent.mkdir(parents=True, exist_ok=True)
    filling = Path(tempfile.mkdtemp(prefix=".inferry-", dir=target.parent))
    try:
        yield filling
        filling.chmod(0o755)
        os.replace(filling, target)
    finally:
        shutil.rmtree(filling, ignore_errors=True)


def write_file(path: Path, chunks: Iterable[bytes], *, force: bool = False) -> None:
    """Write ``path`` whole, or leave it as it was when ``chunks`` raises.
    Raises TargetExistsError when it is there (unless ``force``)."""
    if not force and (path.exists() or path.is_symlink()):
        raise TargetExistsError(f"'{path}' is there already; use --force to overwrite it")
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=".inferry-", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            for chunk in chunks:
                file.write(chunk)
        os.chmod(name, 0o644)
        os.replace(name, path)
    finally:
        with suppress(FileNotFoundError):
            os.unlink(name)
