"""The programs of this package, of which agent.py begins one."""

from __future__ import annotations

import contextlib
import sys

from runtime.submitted.follower import Follower
from runtime.submitted.layout import Folder
from runtime.submitted.processes import detach
from runtime.submitted.supervisor import supervise


def main(path: str) -> None:
    """``path``: the folder."""
    what = sys.argv[1] if len(sys.argv) == 2 else ""
    folder = Folder(path)
    if what == "follow":
        with contextlib.suppress(BrokenPipeError):
            Follower(folder).run()
    elif what in ("run", "detached"):
        if what == "detached":
            detach()
        supervise(folder)
    else:
        sys.exit("agent.py run | detached | follow")
