"""What an ignore file of a source folder leaves out of its image.

``.inferryignore`` at the top of the source, else ``.amlignore`` there (as Azure: it stands for
.gitignore, not beside it), else every ``.gitignore`` in the source, as git reads them: one in a
folder comes before those above it. What git reads outside of the source (a .gitignore above it,
.git/info/exclude, the user's own file) does not count, since the same source must give the same
image everywhere.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

from registry.errors import InvalidSourceError
from registry.ignore_pattern import IgnorePattern, parse_patterns
from registry.tree import SourceFile, shown

OWN_FILES = (".inferryignore", ".amlignore")
GIT_FILE = ".gitignore"
MAX_BYTES = 1024 * 1024
MAX_PATTERNS = 10_000


class IgnoreFile:
    """The ignore file of ``source``, or the several; read as they are needed. ``name`` is how to
    call them. Raises InvalidSourceError for one that is no plain file or too large."""

    def __init__(self, source: Path) -> None:
        self._source = source
        own = [name for name in OWN_FILES if os.path.lexists(source / name)]
        self.name = own[0] if own else GIT_FILE
        self._is_nested = not own
        self._patterns: dict[str, list[IgnorePattern]] = {}

    def leaves_out(self, path: str, *, is_folder: bool) -> bool:
        """Whether the file or folder at ``path`` in the source is left out by itself; the folder it
        lies in is taken not to be."""
        for folder in _above(path) if self._is_nested else ("",):
            below = os.fsencode(path.removeprefix(folder))
            for pattern in reversed(self._read(folder)):
                if pattern.matches(below, is_folder=is_folder):
                    return not pattern.is_negated
        return False

    def _read(self, folder: str) -> list[IgnorePattern]:
        """The patterns of the ignore file in ``folder``, which is empty or ends with a slash."""
        found = self._patterns.get(folder)
        if found is None:
            found = self._patterns[folder] = _patterns(self._source, folder + self.name)
        return found


def _above(path: str) -> list[str]:
    """The folders that ``path`` lies in, from the closest on to the top, each with its slash."""
    parts = path.split("/")[:-1]
    return ["".join(f"{part}/" for part in parts[:count]) for count in range(len(parts), -1, -1)]


def _patterns(source: Path, path: str) -> list[IgnorePattern]:
    try:
        status = os.lstat(source / path)
    except FileNotFoundError:
        return []
    except OSError as error:
        raise InvalidSourceError(f"cannot read '{shown(path)}': {error.strerror}") from error
    if not stat.S_ISREG(status.st_mode):
        raise InvalidSourceError(f"the ignore file '{shown(path)}' is no plain file")
    if status.st_size > MAX_BYTES:
        raise InvalidSourceError(
            f"the ignore file '{shown(path)}' is larger than {MAX_BYTES} bytes"
        )
    with SourceFile(path, source, status.st_size).open() as file:
        found = parse_patterns(file.read())
    if len(found) > MAX_PATTERNS:
        raise InvalidSourceError(
            f"the ignore file '{shown(path)}' has more than {MAX_PATTERNS} patterns"
        )
    return found
