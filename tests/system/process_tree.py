"""Memory and CPU of a process and all its descendants, from /proc (proc(5))."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

TICK_S = 1 / os.sysconf("SC_CLK_TCK")
POLL_S = 0.05


def tree(pid: int) -> Iterator[int]:
    """``pid`` and what descends from it."""
    parents: dict[int, list[int]] = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            fields = _stat(int(folder.name))
            if fields:
                parents.setdefault(int(fields[1]), []).append(int(folder.name))
    waiting = [pid]
    while waiting:
        found = waiting.pop()
        yield found
        waiting += parents.get(found, [])


def resident_bytes(pid: int) -> int:
    """Resident memory (RssAnon, so that what processes share is not counted twice) of the tree."""
    return sum(_status_kib(each, "RssAnon:") * 1024 for each in tree(pid))


def cpu_s(pid: int) -> float:
    """Seconds of CPU that the living processes of the tree have used."""
    ticks = 0
    for each in tree(pid):
        fields = _stat(each)
        ticks += int(fields[11]) + int(fields[12]) if fields else 0
    return ticks * TICK_S


def wait_until_idle(pid: int, *, idle_s: float = 0.3, patience_s: float = 60) -> None:
    """Return when the tree has used next to no CPU for ``idle_s``: all is done or held back."""
    deadline = time.monotonic() + patience_s
    used, since = cpu_s(pid), time.monotonic()
    while time.monotonic() - since < idle_s:
        assert time.monotonic() < deadline, "the server does not come to rest"
        time.sleep(POLL_S)
        now = cpu_s(pid)
        if now - used > 2 * TICK_S:
            used, since = now, time.monotonic()


def _stat(pid: int) -> list[str]:
    """Fields from the third on; none when the process has ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []


def _status_kib(pid: int, name: str) -> int:
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith(name)), 0)
