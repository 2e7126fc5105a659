"""Where the files of activities lie (registry/paths.py): ``<id>.log`` and ``<id>.lock``."""

from __future__ import annotations

from collections.abc import Iterable, Set
from contextlib import suppress
from pathlib import Path

from registry.activities.lifeline import is_held

LOG, LIFELINE = ".log", ".lock"


class ActivityFiles:
    """The files below one folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def make(self) -> None:
        """Workspaces of older versions have no such folder."""
        self._folder.mkdir(exist_ok=True)

    def log(self, id: str) -> Path:
        """What it said."""
        return self._folder / f"{id}{LOG}"

    def lifeline(self, id: str) -> Path:
        """Locked while its process lives."""
        return self._folder / f"{id}{LIFELINE}"

    def strays(self, known: Set[str]) -> set[str]:
        """Ids that have files, but are not ``known`` and of no live process."""
        found = {path.stem for path in self._folder.iterdir() if path.suffix in (LOG, LIFELINE)}
        return {id for id in found - known if not is_held(self.lifeline(id))}

    def remove(self, ids: Iterable[str]) -> None:
        """Remove what these have; what cannot be removed stays, for the next time."""
        for id in ids:
            with suppress(OSError):
                self.log(id).unlink(missing_ok=True)
                self.lifeline(id).unlink(missing_ok=True)

    def remove_lifelines(self, ids: Iterable[str]) -> None:
        """Of these, whose end the database has."""
        for id in ids:
            with suppress(OSError):
                self.lifeline(id).unlink(missing_ok=True)
