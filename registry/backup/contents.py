"""What of a workspace's folder a backup keeps. Every name in it is decided here:

workspace.db      kept: a copy by SQLite, as it is at one moment
store/blobs/      kept: the blobs that the copied database names
edge/hub.db       kept: devices, rollouts and telemetry, a copy by SQLite
datastore/        kept: the files of the datastore "workspace"
activities/*.log  kept, as runs/*.log: what was said
keys/, edge/      only with keys: whoever has them can open every secret, sign in the workspace's
                  name and let devices in
leases/, *.lock   not kept: of processes that live
store/ otherwise  not kept: uploads under way, and what is written anew
serving/, making/, wheels/, unpacked/, deployments/
                  not kept: caches, and what the controller lays out anew
workspace.db.*    not kept: side files, and copies that an upgrade left (registry/database.py)

What is none of this is left out, and said.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from registry.backup.record import DATABASE, is_inside

DATABASES = (DATABASE, "edge/hub.db")
KEPT_TOPS = ("datastore",)
LOG_TOPS = ("activities", "runs")
KEY_TOPS = ("keys", "edge")
DROPPED_TOPS = ("leases", "store", "serving", "making", "wheels", "unpacked", "deployments")
_SIDE_FILES = ("-wal", "-shm", "-journal")
_OF_PROCESSES = (".lock", ".sock", ".pid")


@dataclass(frozen=True, slots=True)
class Found:
    """A file to keep."""

    path: str
    mode: int
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Contents:
    """``databases``: the paths of those that are there; ``left_out``: what nobody knows, or what is
    no plain file."""

    databases: tuple[str, ...]
    files: tuple[Found, ...]
    left_out: tuple[str, ...]


def read(root: Path, *, with_keys: bool) -> Contents:
    """Of the workspace at ``root``. Raises OSError."""
    files: list[Found] = []
    left_out: list[str] = []
    for name in sorted(os.listdir(root)):
        if _is_unknown(name):
            left_out.append(_printable(name))
        elif _is_wanted_top(name, with_keys):
            for path, status in _below(root, name):
                if not _is_wanted(path):
                    continue
                if stat.S_ISREG(status.st_mode) and _is_text(path) and is_inside(path):
                    files.append(Found(path, status.st_mode & 0o777, status.st_size))
                else:
                    left_out.append(_printable(path))
    databases = tuple(path for path in DATABASES if (root / path).is_file())
    return Contents(databases, tuple(files), tuple(left_out))


def is_kept(path: str) -> bool:
    """Whether any backup of ours has this path: a restore writes no other."""
    return is_inside(path) and (
        path in DATABASES
        or (path.split("/")[0] in (*KEPT_TOPS, *LOG_TOPS, *KEY_TOPS) and _is_wanted(path))
    )


def is_key(path: str) -> bool:
    """Whether a backup without keys has no such file."""
    return path.split("/")[0] in KEY_TOPS and path not in DATABASES


def is_log(path: str) -> bool:
    """Whether it goes when its record does."""
    return path.split("/")[0] in LOG_TOPS


def _is_unknown(name: str) -> bool:
    known = (*KEPT_TOPS, *LOG_TOPS, *KEY_TOPS, *DROPPED_TOPS)
    return name not in known and not name.startswith(DATABASE)


def _is_wanted_top(name: str, with_keys: bool) -> bool:
    return name in (*KEPT_TOPS, *LOG_TOPS) or (with_keys and name in KEY_TOPS)


def _is_wanted(path: str) -> bool:
    top = path.split("/")[0]
    if top in LOG_TOPS:
        return path.endswith(".log")
    if top == "edge":
        side_files = [path.removesuffix(end) for end in _SIDE_FILES if path.endswith(end)]
        return not (path in DATABASES or set(side_files) & set(DATABASES)) and not path.endswith(
            _OF_PROCESSES
        )
    return True


def _below(root: Path, top: str) -> Iterator[tuple[str, os.stat_result]]:
    """Every entry that is no folder; no link is followed. What goes meanwhile is not there."""
    folders = [top]
    while folders:
        folder = folders.pop()
        try:
            names = sorted(os.listdir(root / folder))
        except (FileNotFoundError, NotADirectoryError):
            continue
        for name in names:
            path = f"{folder}/{name}"
            try:
                status = os.lstat(root / path)
            except FileNotFoundError:
                continue
            if stat.S_ISDIR(status.st_mode):
                folders.append(path)
            else:
                yield path, status


def _is_text(path: str) -> bool:
    try:
        path.encode()
    except UnicodeEncodeError:
        return False
    return True


def _printable(path: str) -> str:
    return path.encode("unicode_escape", "backslashreplace").decode("ascii")
