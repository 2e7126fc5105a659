"""What of this machine nobody sees through a folder that is used from elsewhere: workspaces, with
their keys, databases and blobs, wherever they lie and whatever links lead there."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from runtime.datastores.errors import UnsafePathError

WORKSPACE_NAME = ".inferry"
"""How a workspace's folder is called, where nobody says otherwise."""
_REFUSED = "the folder of the datastore is part of a workspace, whose files no service moves"


@dataclass(frozen=True, slots=True)
class Guard:
    """``roots`` are folders that are hidden, with all that is below. ``is_own``: the datastore is
    a part of one of them that is meant to be seen."""

    roots: Sequence[Path]
    is_own: bool = False

    def hides_name(self, name: str) -> bool:
        """Whether nothing of this name is there; not every disk tells capitals from small
        letters."""
        return name.casefold() == WORKSPACE_NAME

    def hides(self, seen: os.stat_result) -> bool:
        """Whether this folder is one of the roots."""
        return (seen.st_dev, seen.st_ino) in self._known()

    def check_root(self, folder: int, path: Path) -> None:
        """Whether the open ``folder``, which is a datastore's and was found at ``path``, lies in
        none of the roots. Raises UnsafePathError, OSError."""
        if self.is_own:
            return
        if any(self.hides_name(part) for part in Path(os.path.realpath(path)).parts):
            raise UnsafePathError(_REFUSED)
        known = self._known()
        place = os.dup(folder)
        try:
            while True:
                here = os.fstat(place)
                if (here.st_dev, here.st_ino) in known:
                    raise UnsafePathError(_REFUSED)
                above = os.open("..", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=place)
                os.close(place)
                place = above
                following = os.fstat(place)
                if (following.st_dev, following.st_ino) == (here.st_dev, here.st_ino):
                    return
        finally:
            os.close(place)

    def _known(self) -> set[tuple[int, int]]:
        """Looked up each time: a workspace may be moved and put back."""
        found = set()
        for root in self.roots:
            with suppress(OSError):
                seen = os.stat(root)
                found.add((seen.st_dev, seen.st_ino))
        return found
