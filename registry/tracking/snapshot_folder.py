"""Which files of a folder a snapshot takes: not those that an ignore file or the rule of
``never_packed`` leaves out, no links or pipes, and no more than the limits; what is refused is
refused with the largest offenders named.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from registry import never_packed, tree
from registry.errors import InvalidSourceError
from registry.ignore_pattern import IgnorePattern, parse_patterns
from registry.selection import Selection
from registry.tracking.words import check_path

MB = 1_000_000
OUTPUTS = "outputs"
MAX_OFFENDERS = 5
ADVICE = "name what the run does not need in .inferryignore, or raise the limit"


@dataclass(frozen=True, slots=True)
class SnapshotLimits:
    """Of one snapshot."""

    files: int = 2000
    size_bytes: int = 300 * MB


@dataclass(frozen=True, slots=True)
class FolderFiles:
    """``notes`` say what was left out."""

    files: tuple[tree.SourceFile, ...]
    notes: tuple[str, ...]

    @property
    def size_bytes(self) -> int:
        """Of all."""
        return sum(file.size_bytes for file in self.files)


def read_folder(
    folder: Path, *, ignore: Sequence[str] = (), limits: SnapshotLimits | None = None
) -> FolderFiles:
    """``ignore``: lines as of an ignore file, beside that. What an earlier run left in outputs/ at
    the top is left out. Raises InvalidSourceError."""
    limits = limits or SnapshotLimits()
    if not folder.is_dir():
        raise InvalidSourceError(f"'{tree.shown(str(folder))}' is no folder")
    wanted = _Wanted(folder, parse_patterns("\n".join(ignore).encode()))
    try:
        files = tree.walk(folder, is_wanted=wanted)
    except InvalidSourceError as error:
        if wanted.seen <= tree.MAX_FILES:
            raise
        most = _named((f"{name}/", f"{count} files") for name, count in wanted.largest())
        raise InvalidSourceError(f"{error}; most are in {most}; {ADVICE}") from error
    for file in files:
        check_path(file.path)
        if never_packed.is_private_key(file.head(never_packed.HEAD_BYTES)):
            raise InvalidSourceError(
                f"'{tree.shown(file.path)}' is a private key, which a snapshot would keep and copy;"
                " move it out of the folder, or name it in .inferryignore"
            )
    found = FolderFiles(tuple(files), wanted.notes())
    _check(found, limits)
    return found


class _Wanted:
    """Counts entries by the folder at the top that they are in."""

    def __init__(self, folder: Path, patterns: Sequence[IgnorePattern]) -> None:
        self._selection = Selection(folder)
        self._patterns = patterns
        self._counts: Counter[str] = Counter()
        self._ignored = 0
        self._has_outputs = False
        self.seen = 0

    def __call__(self, path: str, is_folder: bool) -> bool:
        if path == OUTPUTS and is_folder:
            self._has_outputs = True
            return False
        if self._is_ignored(path, is_folder):
            self._ignored += 1
            return False
        if not self._selection.wants(path, is_folder):
            return False
        self.seen += 1
        self._counts[path.split("/", 1)[0]] += 1
        return True

    def largest(self) -> list[tuple[str, int]]:
        """Those with the most entries."""
        return self._counts.most_common(MAX_OFFENDERS)

    def notes(self) -> tuple[str, ...]:
        """What was left out, in words."""
        own = [f"left out {self._ignored} by snapshot.ignore"] if self._ignored else []
        if self._has_outputs:
            own.append(f"left out {OUTPUTS}/, which is for what the run writes")
        return (*self._selection.notes(), *own)

    def _is_ignored(self, path: str, is_folder: bool) -> bool:
        name = os.fsencode(path)
        for pattern in reversed(self._patterns):
            if pattern.matches(name, is_folder=is_folder):
                return not pattern.is_negated
        return False


def _check(found: FolderFiles, limits: SnapshotLimits) -> None:
    if len(found.files) > limits.files:
        counts = Counter(_above(file.path) for file in found.files)
        most = _named((name, f"{count} files") for name, count in counts.most_common(MAX_OFFENDERS))
        raise InvalidSourceError(
            f"the snapshot has {len(found.files)} files, more than {limits.files}; most are in"
            f" {most}; {ADVICE} (snapshot.max_files)"
        )
    if found.size_bytes > limits.size_bytes:
        largest = sorted(found.files, key=lambda file: -file.size_bytes)[:MAX_OFFENDERS]
        most = _named((file.path, f"{file.size_bytes / MB:.1f} MB") for file in largest)
        raise InvalidSourceError(
            f"the snapshot has {found.size_bytes / MB:.1f} MB, more than"
            f" {limits.size_bytes / MB:g}; the largest are {most}; {ADVICE} (snapshot.max_mb)"
        )


def _above(path: str) -> str:
    folder, slash, _ = path.rpartition("/")
    return f"{folder}/" if slash else "the folder itself"


def _named(pairs: Iterable[tuple[str, str]]) -> str:
    return ", ".join(f"{tree.shown(name)} ({what})" for name, what in pairs)
