"""A folder of this machine as ``Files``: datastores of kind ``file``, and the near side of every
upload and download.

No path is followed through a symbolic link: each folder on the way is opened below the one before,
and a link is not opened. So neither a name from a server nor a link that somebody puts there in the
middle of a transfer leads out of the folder.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Literal

from runtime.datastores.errors import (
    ClashError,
    DamagedError,
    DatastoreError,
    FullError,
    MissingFileError,
    RefusedError,
    UnsafePathError,
)
from runtime.datastores.guard import Guard
from runtime.datastores.paths import (
    UNFINISHED,
    check_part,
    check_path,
    is_unfinished,
    join,
    parts_below,
    shown,
)
from runtime.datastores.port import CHUNK_BYTES, Content, Item

Links = Literal["leave", "refuse", "follow"]
LEFT_OUT = frozenset({".inferry"})
"""A workspace inside a folder: its keys are no data."""
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC


class FolderFiles:
    """``links``: what ``list`` does with symbolic links; ``follow`` reads through them, too.
    ``is_source``: leaves workspaces out of its list, and refuses what is no file. ``makes_root``:
    a folder that is not there is made when something is written; a datastore's is not: a disk may
    have been unmounted. ``guard`` hides what is on this machine and not for those who use it from
    elsewhere."""

    has_times = False
    wants_digest = False

    def __init__(
        self,
        root: Path,
        *,
        links: Links = "leave",
        is_source: bool = False,
        makes_root: bool = False,
        guard: Guard | None = None,
    ) -> None:
        self._root = root
        self._follows = links == "follow"
        self._refuses = links == "refuse"
        self._is_source = is_source
        self._makes_root = makes_root
        self._guard = guard

    def list(self, prefix: str, after: str = "") -> Iterator[Item]:
        """In order of path, part by part."""
        rest = parts_below(prefix, after)
        found = self.stat(prefix) if prefix else None
        if found is not None:
            if not after:
                yield found
            return
        with _said(prefix or "."):
            try:
                folder = self._folder(prefix.split("/") if prefix else [])
            except (FileNotFoundError, NotADirectoryError):
                if not prefix:
                    raise MissingFileError("the folder itself is not there") from None
                return
            yield from self._below(folder, prefix, (), rest)

    def stat(self, path: str) -> Item | None:
        """Links are files whose content is not known, unless they are followed."""
        try:
            with _said(path), self._parent(path) as (folder, name):
                seen = os.stat(name, dir_fd=folder, follow_symlinks=self._follows)
        except MissingFileError:
            return None
        if stat.S_ISDIR(seen.st_mode):
            return None
        return _item(path, seen)

    def read(self, item: Item, offset: int) -> Iterator[bytes]:
        """In chunks of CHUNK_BYTES."""
        with _said(item.path), self._opened(item.path) as file:
            seen = os.fstat(file)
            if not stat.S_ISREG(seen.st_mode):
                raise UnsafePathError(f"{shown(item.path)} is no file")
            os.lseek(file, offset, os.SEEK_SET)
            while chunk := os.read(file, CHUNK_BYTES):
                yield chunk
            now = _item(item.path, os.fstat(file))
            if (now.size_bytes, now.mark) != (item.size_bytes, item.mark):
                raise DamagedError(f"{shown(item.path)} changed while it was read; try again")

    def write(self, content: Content, *, replace: bool) -> None:
        """Under another name first; on the disk before it gets its own."""
        with _said(content.path), self._parent(content.path, makes=True) as (folder, name):
            made = f"{UNFINISHED}{os.urandom(8).hex()}"
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
            file = os.open(made, flags, 0o666, dir_fd=folder)
            try:
                with open(file, "wb", buffering=0) as opened:
                    for chunk in content.chunks():
                        _write_all(opened.fileno(), chunk)
                    if content.modified_s is not None:
                        os.utime(opened.fileno(), (content.modified_s, content.modified_s))
                    os.fsync(opened.fileno())
                _publish(folder, made, name, replace=replace)
            except BaseException:
                with suppress(OSError):
                    os.unlink(made, dir_fd=folder)
                raise
            os.fsync(folder)

    def delete(self, path: str) -> None:
        """A link itself, never what it points to."""
        with _said(path), self._parent(path) as (folder, name):
            os.unlink(name, dir_fd=folder)
        parts = path.split("/")[:-1]
        with suppress(OSError, DatastoreError):  # the first that is not empty ends it
            while parts:
                with _said(path), self._parent("/".join(parts)) as (folder, name):
                    os.rmdir(name, dir_fd=folder)
                parts.pop()

    def close(self) -> None:
        """Nothing is open between calls."""

    def free_bytes(self) -> int:
        """On the disk of this folder, or of the nearest one above that is there."""
        for place in (self._root, *self._root.parents):
            with suppress(FileNotFoundError):
                found = os.statvfs(place)
                return found.f_bavail * found.f_frsize
        return 0

    def _below(
        self, folder: int, path: str, above: tuple[tuple[int, int], ...], rest: tuple[str, ...]
    ) -> Iterator[Item]:
        """Of the open ``folder``, which is closed at the end. ``above``: the folders on the way
        here, so that links in a circle end. ``rest``: the path in here that all come after."""
        try:
            here = os.fstat(folder)
            above = (*above, (here.st_dev, here.st_ino))
            with os.scandir(folder) as entries:
                names = sorted(entry.name for entry in entries)
            for name in names:
                if is_unfinished(name) or (self._is_source and name in LEFT_OUT):
                    continue
                if (rest and name < rest[0]) or (self._guard and self._guard.hides_name(name)):
                    continue
                begin = rest[1:] if rest and name == rest[0] else None
                yield from self._entry(folder, join(path, check_part(name)), name, above, begin)
        finally:
            os.close(folder)

    def _entry(
        self,
        folder: int,
        path: str,
        name: str,
        above: tuple[tuple[int, int], ...],
        begin: tuple[str, ...] | None,
    ) -> Iterator[Item]:
        """``begin`` is None for all of it, and empty for what comes after a file of this name."""
        check_path(path)
        with _said(path):
            seen = os.stat(name, dir_fd=folder, follow_symlinks=self._follows)
        if stat.S_ISDIR(seen.st_mode):
            if (seen.st_dev, seen.st_ino) in above:
                raise UnsafePathError(f"the link {shown(path)} leads to a folder above it")
            if self._guard is not None and self._guard.hides(seen):
                return
            flags = _FOLDER | (0 if self._follows else os.O_NOFOLLOW)
            yield from self._below(os.open(name, flags, dir_fd=folder), path, above, begin or ())
        elif stat.S_ISREG(seen.st_mode):
            if begin is None:
                yield _item(path, seen)
        elif stat.S_ISLNK(seen.st_mode) and self._refuses:
            raise UnsafePathError(
                f"{shown(path)} is a symbolic link; remove it, or send what links point to with"
                " --follow-links"
            )
        elif self._is_source and not stat.S_ISLNK(seen.st_mode):
            raise UnsafePathError(f"{shown(path)} is neither a file nor a folder; remove it")

    def _folder(self, parts: Sequence[str], *, makes: bool = False) -> int:
        """Opened below the root, part by part. Raises OSErrors."""
        if makes and self._makes_root:
            self._root.mkdir(parents=True, exist_ok=True)
        folder = os.open(self._root, _FOLDER)
        try:
            if self._guard is not None:
                self._guard.check_root(folder, self._root)
            for part in parts:
                self._check_name(part)
                if makes:
                    with suppress(FileExistsError):
                        os.mkdir(part, dir_fd=folder)
                        os.fsync(folder)
                flags = _FOLDER | (0 if self._follows else os.O_NOFOLLOW)
                below = os.open(part, flags, dir_fd=folder)
                os.close(folder)
                folder = below
                if self._guard is not None and self._guard.hides(os.fstat(folder)):
                    raise FileNotFoundError(errno.ENOENT, "hidden")
        except BaseException:
            os.close(folder)
            raise
        return folder

    @contextmanager
    def _parent(self, path: str, *, makes: bool = False) -> Iterator[tuple[int, str]]:
        *parts, name = check_path(path).split("/")
        self._check_name(name)
        folder = self._folder(parts, makes=makes)
        try:
            yield folder, name
        finally:
            os.close(folder)

    def _check_name(self, name: str) -> None:
        if self._guard is not None and self._guard.hides_name(name):
            raise FileNotFoundError(errno.ENOENT, "hidden")

    @contextmanager
    def _opened(self, path: str) -> Iterator[int]:
        # O_NONBLOCK: opening a pipe that nobody writes to would wait for ever.
        flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK
        with self._parent(path) as (folder, name):
            file = os.open(name, flags | (0 if self._follows else os.O_NOFOLLOW), dir_fd=folder)
        try:
            yield file
        finally:
            os.close(file)


def _item(path: str, seen: os.stat_result) -> Item:
    mark = f"{seen.st_ino}-{seen.st_mtime_ns}-{stat.S_IFMT(seen.st_mode)}"
    size = seen.st_size if stat.S_ISREG(seen.st_mode) else -1  # a link is like no file
    return Item(path, size, seen.st_mtime_ns / 1e9, None, mark)


def _write_all(file: int, chunk: bytes) -> None:
    rest = memoryview(chunk)
    while rest:
        rest = rest[os.write(file, rest) :]


def _publish(folder: int, made: str, name: str, *, replace: bool) -> None:
    if not replace:
        try:
            os.link(made, name, src_dir_fd=folder, dst_dir_fd=folder, follow_symlinks=False)
        except FileExistsError:
            raise ClashError(f"{shown(name)} is there already", [name]) from None
        except OSError as error:
            if error.errno not in (errno.EPERM, errno.EOPNOTSUPP, errno.EMLINK, errno.ENOSYS):
                raise  # those: a file system without hard links
        else:
            os.unlink(made, dir_fd=folder)
            return
        with suppress(FileNotFoundError):
            os.stat(name, dir_fd=folder, follow_symlinks=False)
            raise ClashError(f"{shown(name)} is there already", [name])
    os.rename(made, name, src_dir_fd=folder, dst_dir_fd=folder)


@contextmanager
def _said(path: str) -> Iterator[None]:
    """OSErrors as DatastoreErrors."""
    try:
        yield
    except OSError as error:
        raise _meaning(error, path) from error


def _meaning(error: OSError, path: str) -> DatastoreError:
    match error.errno:
        case errno.ENOSPC | errno.EDQUOT | errno.EFBIG:
            return FullError(f"no space is left for {shown(path)}; free some and try again")
        case errno.ENOENT:
            return MissingFileError(f"there is no {shown(path)}")
        case errno.EACCES | errno.EPERM | errno.EROFS:
            return RefusedError(f"{shown(path)} cannot be used: {error.strerror}")
        case errno.ELOOP | errno.ENOTDIR:
            return UnsafePathError(f"{shown(path)} leads through a symbolic link, or a file")
        case errno.EISDIR | errno.ENOTEMPTY | errno.EEXIST:
            return ClashError(f"{shown(path)} is a folder there", [path])
        case _:
            return DatastoreError(f"{shown(path)} failed: {error.strerror or error}")
