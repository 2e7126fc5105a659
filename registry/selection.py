"""Which files of a source folder go into an image: not those that the fixed rule names, nor those
that the ignore file names. Counts what is left out."""

from __future__ import annotations

from collections import Counter, defaultdict
from pathlib import Path

from registry.ignore_file import IgnoreFile
from registry.never_packed import is_never_entered, is_never_packed
from registry.tree import shown

MAX_SHOWN = 5
"""Names in a note."""
RULE = "rule"


class Selection:
    """Of one source folder. A reason is ``RULE`` or the ignore file's name."""

    def __init__(self, source: Path) -> None:
        self._source = source
        self._ignore_file = IgnoreFile(source)
        self._counts: Counter[str] = Counter()
        self._names: defaultdict[str, set[str]] = defaultdict(set)

    def wants(self, path: str, is_folder: bool) -> bool:
        """Whether to pack the entry, whose folder is packed; counts what is not."""
        reason = self._reason(path, is_folder)
        if reason is None:
            return True
        self._counts[reason] += 1
        names = self._names[reason]
        names.add(path.rsplit("/", 1)[-1] if reason == RULE else path)
        if len(names) > 2 * MAX_SHOWN:  # the first ones by name, in whatever order they come
            names.remove(max(names))
        return False

    def notes(self) -> tuple[str, ...]:
        """A line for each reason, such as "left out 2 by .amlignore (a.csv, data)"."""
        return tuple(
            f"left out {count} by {reason} ({_shown(sorted(self._names[reason]))})"
            for reason, count in sorted(self._counts.items())
        )

    def reason_for(self, path: str) -> tuple[str, str] | None:
        """For what reason the file ``path`` is left out, and whether itself or which of its
        folders; None if it is packed."""
        parts = path.split("/")
        for count in range(1, len(parts) + 1):
            part = "/".join(parts[:count])
            reason = self._reason(part, count < len(parts))
            if reason is not None:
                return part, reason
        return None

    def _reason(self, path: str, is_folder: bool) -> str | None:
        if is_never_packed(path):
            return RULE
        if is_folder and is_never_entered(self._source / path):
            return RULE
        if self._ignore_file.leaves_out(path, is_folder=is_folder):
            return self._ignore_file.name
        return None


def _shown(names: list[str]) -> str:
    return ", ".join([*map(shown, names[:MAX_SHOWN]), *["..."] * (len(names) > MAX_SHOWN)])
