"""What this process may do, and that nothing it has started outlives it."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import sys
from pathlib import Path
from types import FrameType

_PR_SET_PDEATHSIG, _PR_CAPBSET_DROP, _PR_SET_CHILD_SUBREAPER, _PR_SET_NO_NEW_PRIVS = 1, 24, 36, 38
_CAP_DAC_READ_SEARCH = 2
_CAPABILITIES = 64
ROUNDS = 100
"""Of killing: what still starts processes after so many is left to the container's end."""


def settle() -> None:
    """End with our parent; be the parent of whatever loses its own; and let children have no more
    rights than in a container: root, where we are root, writes to no file that is read-only."""
    signal.signal(signal.SIGTERM, _leave)
    prctl = ctypes.CDLL(None).prctl
    prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
    prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    for capability in range(_CAPABILITIES):
        if capability != _CAP_DAC_READ_SEARCH:
            prctl(_PR_CAPBSET_DROP, capability, 0, 0, 0)  # fails without root: nothing to drop


def end_children() -> None:
    """Kill all processes below this one."""
    for _ in range(ROUNDS):
        found = _children()
        if not found:
            return
        for pid in found:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        for pid in found:
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, 0)


def _children() -> list[int]:
    """Direct ones; the others become ours as these end."""
    own, found = str(os.getpid()), []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                fields = (entry / "stat").read_text(errors="replace").rpartition(")")[2].split()
                if fields[1] == own:
                    found.append(int(entry.name))
    return found


def _leave(signum: int, frame: FrameType | None) -> None:
    sys.exit(128 + signum)
