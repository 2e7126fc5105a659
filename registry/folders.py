"""Writes what the registry hands out: whole or not at all."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from registry.errors import TargetError, TargetExistsError


@contextmanager
def new_folder(target: Path) -> Iterator[Path]:
    """A folder to fill, which becomes ``target`` at the end of the block, or nothing when it
    raises. Raises TargetExistsError when ``target`` is there and not an empty folder, and
    TargetError when it cannot be written."""
    with _target_errors_said(target):
        if os.path.lexists(target) and (not target.is_dir() or any(target.iterdir())):
            raise TargetExistsError(f"'{target}' is there already; name a new folder")
        target.parent.mkdir(parents=True, exist_ok=True)
        with _filling(target.parent) as folder:
            yield folder
            folder.chmod(0o755)
            os.replace(folder, target)


@contextmanager
def new_file(target: Path) -> Iterator[IO[bytes]]:
    """A file to write, which becomes ``target`` at the end of the block, or nothing when it raises.
    Raises TargetExistsError, and TargetError when ``target`` cannot be written."""
    with _target_errors_said(target):
        if os.path.lexists(target):
            raise _is_there(target)
        target.parent.mkdir(parents=True, exist_ok=True)
        with _filling(target.parent) as folder:
            made = folder / "file"
            with made.open("xb") as file:
                yield file
            try:
                os.link(made, target)  # unlike a replacement it spares what came meanwhile
            except FileExistsError:
                raise _is_there(target) from None
            except OSError:  # a file system without links
                os.replace(made, target)


@contextmanager
def added_files(target: Path, paths: Iterable[str], *, force: bool) -> Iterator[Path]:
    """A folder to fill with files at ``paths``, which come into the folder ``target`` at the end of
    the block, or not at all when it raises. Raises TargetExistsError when one is there (unless
    ``force``), and TargetError when ``target`` cannot be written."""
    with _target_errors_said(target):
        for path in paths:
            if not force and os.path.lexists(target / path):
                raise TargetExistsError(
                    f"'{target / path}' is there already; use --force to overwrite it"
                )
        target.mkdir(parents=True, exist_ok=True)
        with _filling(target) as folder:
            yield folder
            for path in paths:
                (target / path).parent.mkdir(parents=True, exist_ok=True)
                os.replace(folder / path, target / path)


def write_file(path: Path, chunks: Iterable[bytes], *, is_executable: bool = False) -> None:
    """Write the new file ``path`` and the folders it needs."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("xb") as file:
        for chunk in chunks:
            file.write(chunk)
    path.chmod(0o755 if is_executable else 0o644)


def _is_there(target: Path) -> TargetExistsError:
    return TargetExistsError(f"'{target}' is there already; name a new file")


@contextmanager
def _filling(parent: Path) -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix=".inferry-", dir=parent))
    try:
        yield folder
    finally:
        with suppress(OSError):
            shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _target_errors_said(target: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise TargetError(f"cannot write '{target}': {error.strerror or error}") from error
