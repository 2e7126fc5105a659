"""Whether a hub runs: its last beat is the time of a file's last change. Whoever works on the hub's
database beside it (the command line, a controller) can so tell that nobody follows what is there.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path

INTERVAL_S = 5.0


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """A chore of the hub's service, on ``path``."""

    path: Path
    name: str = "heartbeat"
    interval_s: float = INTERVAL_S

    def run(self, now_ms: int) -> None:
        """As a chore."""
        self.path.touch()
        os.utime(self.path, (now_ms / 1000, now_ms / 1000))


def silent_s(path: Path, now_s: float | None = None) -> float | None:
    """Since the last beat; None: there never was one. ``now_s``: since 1970. A clock that was put
    back makes it 0."""
    try:
        beaten_s = path.stat().st_mtime
    except OSError:
        return None
    return max(0.0, (time.time() if now_s is None else now_s) - beaten_s)
