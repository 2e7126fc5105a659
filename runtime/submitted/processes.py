"""Ending processes, and all that they have started. On Linux that is all of it; elsewhere a
process that left its group is missed."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Callable

PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36


def _loaded_prctl() -> Callable[..., int] | None:
    with contextlib.suppress(OSError, AttributeError, ImportError):
        import ctypes

        found: Callable[..., int] = ctypes.CDLL(None).prctl
        return found
    return None


_PRCTL = _loaded_prctl()
"""Before a fork: between it and the new program nothing should be loaded."""


def die_with_parent() -> None:
    """In a process that was just forked off: it ends with this one, however that ends."""
    if _PRCTL is not None:
        _PRCTL(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


def adopt_orphans() -> None:
    """What descendants of this process leave behind becomes its own child."""
    if _PRCTL is not None:
        _PRCTL(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def send_to_group(group: int, number: int) -> None:
    """Nothing where it has gone."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, number)


def end_descendants() -> None:
    """Of this process, at once: those in other groups and sessions too."""
    for _ in range(1000):
        left = descendants(os.getpid())
        if not left:
            return
        for pid in left:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        reap()
        time.sleep(0.002)


def reap() -> None:
    """What has ended and was left to this process."""
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def reap_but(child: int) -> None:
    """The same, while ``child`` is waited for elsewhere."""
    with contextlib.suppress(ChildProcessError, AttributeError):
        while True:
            ended = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            if ended is None or ended.si_pid == child:
                return
            os.waitpid(ended.si_pid, 0)


def descendants(root: int) -> list[int]:
    """All processes below ``root`` that have not ended."""
    parents = {}
    with contextlib.suppress(OSError):
        for name in os.listdir("/proc"):
            if name.isdigit():
                with contextlib.suppress(OSError), open(f"/proc/{name}/stat", "rb") as file:
                    state, parent = file.read().rpartition(b")")[2].split()[:2]
                    if state != b"Z":
                        parents[int(name)] = int(parent)
    found: list[int] = []
    front = [root]
    while front:
        front = [pid for pid, parent in parents.items() if parent in front]
        found += front
    return found


def detach() -> None:
    """Go on in a process of its own, which no terminal or connection ends."""
    if os.fork():
        os._exit(0)
    os.setsid()
    if os.fork():
        os._exit(0)
    null = os.open(os.devnull, os.O_RDWR)
    for handle in (0, 1, 2):
        os.dup2(null, handle)
