"""Walks a file or folder that someone wants to register. Nothing but plain files gets through.

Symbolic links, devices, pipes and sockets are refused by name rather than followed or left out: a
link can point anywhere, and a model that silently lacks a file is worse than none. Empty folders
are left out.
"""

from __future__ import annotations

import os
import stat
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from registry.errors import InvalidSourceError

MAX_FILES = 100_000
"""Of a folder; files and folders together."""
MAX_UNWANTED = 1_000_000
"""Of a folder: entries that are left out where others are not. A folder that is left out counts as
one, however much is in it."""
MAX_PATH_BYTES = 1024
MAX_PART_BYTES = 255
WHITEOUT = ".wh."
"""How OCI layers spell "delete this": a file of that name would vanish, and its sibling too."""


@dataclass(frozen=True, slots=True)
class SourceFile:
    """One file to read: its POSIX ``path`` in what is registered, below the folder ``root``."""

    path: str
    root: Path
    size_bytes: int
    is_executable: bool = False

    def open(self) -> SourceReader:
        """The file, if it is still the plain file that was seen. Raises InvalidSourceError."""
        try:
            handle = _open_below(self.root, self.path)
        except OSError as error:
            raise InvalidSourceError(
                f"cannot read '{shown(self.path)}': {error.strerror}"
            ) from error
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            os.close(handle)
            raise _changed(self)
        return SourceReader(self, os.fdopen(handle, "rb"))

    def head(self, size: int) -> bytes:
        """The first bytes, at most ``size``. Raises InvalidSourceError."""
        reader = self.open()
        try:
            return reader.read(min(size, self.size_bytes))
        finally:
            reader.close()


class SourceReader:
    """Reads a SourceFile in a ``with`` block, from its first byte to its last. Raises
    InvalidSourceError when it cannot be read, or was found to be shorter or longer than seen."""

    def __init__(self, source: SourceFile, file: IO[bytes]) -> None:
        self._source = source
        self._file = file
        self._count = 0

    def read(self, size: int = -1, /) -> bytes:
        """As of a file."""
        try:
            data = self._file.read(size)
        except OSError as error:
            raise InvalidSourceError(
                f"cannot read '{shown(self._source.path)}': {error.strerror}"
            ) from error
        self._count += len(data)
        is_end = size < 0 or len(data) < size
        if self._count > self._source.size_bytes or (
            is_end and self._count < self._source.size_bytes
        ):
            raise _changed(self._source)
        return data

    def close(self) -> None:
        """Close it wherever it is, unlike the end of a ``with`` block, which is the file's too."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            if error is None:
                self.read(1)  # the end, as its size said?
        finally:
            self._file.close()


def walk(
    source: Path,
    *,
    max_files: int = MAX_FILES,
    is_wanted: Callable[[str, bool], bool] = lambda path, is_folder: True,
) -> list[SourceFile]:
    """All files of ``source`` (a file or a folder), sorted by path. ``is_wanted`` gets the path of
    each entry, whatever it is, and whether it is a folder; nobody looks into one that is not
    wanted. Raises InvalidSourceError naming the first entry that is not allowed."""
    status = _status(source, source.name)
    if stat.S_ISREG(status.st_mode):
        return [_file(_checked(source.name), source.parent, status)]
    if not stat.S_ISDIR(status.st_mode):
        raise InvalidSourceError(
            f"'{shown(str(source))}' is {_kind(status.st_mode)}; give a file or a folder"
        )
    files = []
    wanted = unwanted = 0
    for path, entry in _entries(source, is_wanted):
        wanted, unwanted = wanted + (path is not None), unwanted + (path is None)
        if wanted > max_files or unwanted > MAX_UNWANTED:
            limit = max_files if wanted > max_files else MAX_UNWANTED
            raise InvalidSourceError(
                f"'{shown(str(source))}' has more than {limit} files and folders"
            )
        if path is not None and entry is not None:
            files.append(_file(path, source, entry))
    if not files:
        raise InvalidSourceError(f"'{shown(str(source))}' has no files")
    return sorted(files, key=lambda file: file.path)


def check_paths(paths: Sequence[str], *, max_files: int = MAX_FILES) -> None:
    """That files of these paths could be those of a folder that ``walk`` takes. Raises
    InvalidSourceError."""
    if not paths:
        raise InvalidSourceError("there are no files")
    if len(paths) > max_files:
        raise InvalidSourceError(f"there are more than {max_files} files")
    files, folders = set(paths), set[str]()
    for path in paths:
        parts = path.split("/")
        if any(part in ("", ".", "..") or len(part.encode()) > MAX_PART_BYTES for part in parts):
            raise InvalidSourceError(f"'{shown(path)}' is no path of a file within a folder")
        for end in range(1, len(parts) + 1):
            _checked("/".join(parts[:end]))
        folders.update("/".join(parts[:end]) for end in range(1, len(parts)))
    if len(files) < len(paths):
        raise InvalidSourceError("two files have one path")
    if both := files & folders:
        raise InvalidSourceError(f"'{shown(min(both))}' is a file, and a folder of others")


def shown(path: str) -> str:
    """A path for a message: no control characters, not too long."""
    text = path.encode("unicode_escape", "backslashreplace").decode("ascii")
    return text if len(text) <= 120 else f"{text[:117]}..."


def _entries(
    source: Path, is_wanted: Callable[[str, bool], bool]
) -> Iterator[tuple[str | None, os.stat_result | None]]:
    """Every entry below ``source`` as it comes: a million of them must not be held at once. A file
    with its status, a folder without, what is not wanted without a path."""
    prefixes = [""]
    while prefixes:
        prefix = prefixes.pop()
        for entry in _scan(source, prefix):
            if not is_wanted(prefix + entry.name, entry.is_dir(follow_symlinks=False)):
                yield None, None
                continue
            path = _checked(prefix + entry.name)
            status = _status(Path(entry.path), path)
            if stat.S_ISDIR(status.st_mode):
                prefixes.append(f"{path}/")
                yield path, None
            elif stat.S_ISREG(status.st_mode):
                yield path, status
            else:
                raise InvalidSourceError(
                    f"'{shown(path)}' is {_kind(status.st_mode)}; only plain files can be kept"
                )


def _scan(source: Path, prefix: str) -> Iterator[os.DirEntry[str]]:
    try:
        with os.scandir(source / prefix) as entries:
            yield from entries
    except OSError as error:
        label = prefix or str(source)
        raise InvalidSourceError(f"cannot read '{shown(label)}': {error.strerror}") from error


def _open_below(root: Path, path: str) -> int:
    """Opens ``path`` one part at a time and follows no link on the way, so that a folder that was
    exchanged for a link since the walk leads nowhere."""
    *folders, name = path.split("/")
    folder = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for part in folders:
            flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
            below = os.open(part, flags, dir_fd=folder)
            os.close(folder)
            folder = below
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        return os.open(name, flags, dir_fd=folder)
    finally:
        os.close(folder)


def _file(path: str, root: Path, status: os.stat_result) -> SourceFile:
    return SourceFile(path, root, status.st_size, bool(status.st_mode & stat.S_IXUSR))


def _status(path: Path, label: str) -> os.stat_result:
    try:
        return path.lstat()
    except FileNotFoundError:
        raise InvalidSourceError(f"there is no file or folder '{shown(str(path))}'") from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise InvalidSourceError(f"cannot read '{shown(label)}': {reason}") from error


def _checked(path: str) -> str:
    if any(unicodedata.category(char) in ("Cc", "Cs") for char in path) or "\\" in path:
        raise InvalidSourceError(
            f"the file name '{shown(path)}' has a control character, a backslash or no valid text"
        )
    if path.rsplit("/", 1)[-1].startswith(WHITEOUT):
        raise InvalidSourceError(
            f"the file name '{shown(path)}' means a deletion in an image; rename it"
        )
    if len(path.encode()) > MAX_PATH_BYTES:
        raise InvalidSourceError(f"the path '{shown(path)}' is longer than {MAX_PATH_BYTES} bytes")
    return path


def _changed(file: SourceFile) -> InvalidSourceError:
    return InvalidSourceError(f"'{shown(file.path)}' changed while it was read; try again")


def _kind(mode: int) -> str:
    kinds = [
        (stat.S_ISLNK, "a symbolic link"),
        (stat.S_ISFIFO, "a named pipe"),
        (stat.S_ISSOCK, "a socket"),
        (stat.S_ISBLK, "a block device"),
        (stat.S_ISCHR, "a character device"),
    ]
    return next((text for test, text in kinds if test(mode)), "no plain file")
