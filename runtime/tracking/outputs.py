"""What a run leaves in its outputs folder: found by comparison with what was there before.

Links, pipes and the like are left out, and said; so is a name that a run cannot have.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from registry.errors import InvalidNameError
from registry.tracking.words import check_path
from registry.tree import SourceFile, shown

MAX_ENTRIES = 100_000
Seen = Mapping[str, tuple[int, int, int]]
"""Path: time of change, size, inode."""


@dataclass(frozen=True, slots=True)
class Outputs:
    """What is new: files by their path in the run, and what was left out, in words."""

    files: Mapping[str, SourceFile]
    left_out: tuple[str, ...]


def look(folder: Path) -> Seen:
    """What is in the folder now; nothing, where there is none."""
    return {
        path: (status.st_mtime_ns, status.st_size, status.st_ino)
        for path, status in _entries(folder)
        if stat.S_ISREG(status.st_mode)
    }


def changed(folder: Path, before: Seen, name: str = "outputs") -> Outputs:
    """What is new or has changed since ``before``; in the run it lies below ``name``."""
    files: dict[str, SourceFile] = {}
    left_out = []
    for path, status in _entries(folder):
        if not stat.S_ISREG(status.st_mode):
            left_out.append(f"'{shown(path)}' is no plain file")
            continue
        if before.get(path) == (status.st_mtime_ns, status.st_size, status.st_ino):
            continue
        try:
            files[check_path(f"{name}/{path}")] = SourceFile(path, folder, status.st_size)
        except InvalidNameError as error:
            left_out.append(str(error))
    return Outputs(files, tuple(left_out))


def _entries(folder: Path) -> Iterator[tuple[str, os.stat_result]]:
    """All but folders, at most MAX_ENTRIES; no link is followed."""
    prefixes, count = [""], 0
    while prefixes:
        prefix = prefixes.pop()
        try:
            entries = list(os.scandir(folder / prefix))
        except OSError:
            continue
        for entry in entries:
            count += 1
            if count > MAX_ENTRIES:
                return
            try:
                status = entry.stat(follow_symlinks=False)
            except OSError:
                continue
            if stat.S_ISDIR(status.st_mode):
                prefixes.append(f"{prefix}{entry.name}/")
            else:
                yield prefix + entry.name, status
