"""Walks a file or folder that someone wants to register. Nothing but plain files gets through.

Symbolic links, devices, pipes and sockets are refused by name rather than followed or left out: a
link can point anywhere, and a model that silently lacks a file is worse than none.
"""

from __future__ import annotations

import os
import stat
import unicodedata
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from registry.errors import InvalidSourceError

MAX_FILES = 100_000
MAX_PATH_BYTES = 1024


@dataclass(frozen=True, slots=True)
class SourceFile:
    """One file to read: where it is, and its POSIX path in what is registered."""

    path: str
    source: Path
    size_bytes: int
    is_executable: bool = False

    def open(self) -> IO[bytes]:
        """The file, if it is still the plain file that was seen. Raises InvalidSourceError."""
        try:
            handle = os.open(
                self.source, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
            )
        except OSError as error:
            raise InvalidSourceError(
                f"cannot read '{shown(self.path)}': {error.strerror}"
            ) from error
        file = os.fdopen(handle, "rb")
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            file.close()
            raise InvalidSourceError(f"'{shown(self.path)}' changed while it was read")
        return file


def walk(
    source: Path,
    *,
    max_files: int = MAX_FILES,
    is_wanted: Callable[[str], bool] = lambda name: True,
) -> list[SourceFile]:
    """All files of ``source`` (a file or a folder), sorted by path. ``is_wanted`` gets the name of
    each file and folder. Raises InvalidSourceError naming the first entry that is not allowed."""
    status = _status(source, source.name)
    if stat.S_ISREG(status.st_mode):
        return [_file(_checked(source.name), source, status)]
    if not stat.S_ISDIR(status.st_mode):
        raise InvalidSourceError(f"'{source}' is {_kind(status.st_mode)}; give a file or a folder")
    files: list[SourceFile] = []
    for file in _walk_folder(source, "", is_wanted):
        files.append(file)
        if len(files) > max_files:
            raise InvalidSourceError(f"'{source}' has more than {max_files} files")
    if not files:
        raise InvalidSourceError(f"'{source}' has no files")
    return sorted(files, key=lambda file: file.path)


def shown(path: str) -> str:
    """A path for a message: no control characters, not too long."""
    text = path.encode("unicode_escape", "backslashreplace").decode("ascii")
    return text if len(text) <= 120 else f"{text[:117]}..."


def _walk_folder(
    folder: Path, prefix: str, is_wanted: Callable[[str], bool]
) -> Iterator[SourceFile]:
    try:
        entries = os.scandir(folder)
    except OSError as error:
        raise InvalidSourceError(f"cannot read '{shown(prefix)}': {error.strerror}") from error
    with entries:
        for entry in entries:  # as it comes: a million entries must not be held at once
            if not is_wanted(entry.name):
                continue
            path = _checked(prefix + entry.name)
            status = _status(Path(entry.path), path)
            if stat.S_ISDIR(status.st_mode):
                yield from _walk_folder(Path(entry.path), f"{path}/", is_wanted)
            elif stat.S_ISREG(status.st_mode):
                yield _file(path, Path(entry.path), status)
            else:
                raise InvalidSourceError(
                    f"'{shown(path)}' is {_kind(status.st_mode)}; only plain files can be kept"
                )


def _file(path: str, source: Path, status: os.stat_result) -> SourceFile:
    return SourceFile(path, source, status.st_size, bool(status.st_mode & stat.S_IXUSR))


def _status(path: Path, label: str) -> os.stat_result:
    try:
        return path.lstat()
    except FileNotFoundError:
        raise InvalidSourceError(f"there is no file or folder '{path}'") from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise InvalidSourceError(f"cannot read '{shown(label)}': {reason}") from error


def _checked(path: str) -> str:
    if any(unicodedata.category(char) in ("Cc", "Cs") for char in path) or "\\" in path:
        raise InvalidSourceError(
            f"the file name '{shown(path)}' has a control character, a backslash or no valid text"
        )
    if len(path.encode()) > MAX_PATH_BYTES:
        raise InvalidSourceError(f"the path '{shown(path)}' is longer than {MAX_PATH_BYTES} bytes")
    return path


def _kind(mode: int) -> str:
    kinds = [
        (stat.S_ISLNK, "a symbolic link"),
        (stat.S_ISFIFO, "a named pipe"),
        (stat.S_ISSOCK, "a socket"),
        (stat.S_ISBLK, "a block device"),
        (stat.S_ISCHR, "a character device"),
    ]
    return next((text for test, text in kinds if test(mode)), "no plain file")
