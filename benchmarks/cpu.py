"""What a server's processes use, read from /proc: CPU seconds and memory of a process and all
below it. Found by parent, not by session: workers may lead sessions of their own."""

from __future__ import annotations

import contextlib
import os
import platform
import re
from pathlib import Path

TICKS_PER_S = os.sysconf("SC_CLK_TCK")


def tree(root: int) -> list[int]:
    """The process and its living descendants, parents before children."""
    children: dict[int, list[int]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            state, parent = _fields(stat)[:2]
            if state != "Z":
                children.setdefault(int(parent), []).append(int(stat.parent.name))
    found = [root]
    for pid in found:
        found += sorted(children.get(pid, []))
    return found


def cpu_s(root: int) -> float:
    """CPU seconds that the tree has used, reaped children included."""
    total = 0
    for pid in tree(root):
        with contextlib.suppress(OSError):
            total += sum(int(ticks) for ticks in _fields(Path(f"/proc/{pid}/stat"))[11:15])
    return total / TICKS_PER_S


def pss_bytes(root: int) -> int:
    """Proportional set size of the tree: shared pages are split among those that share them."""
    total = 0
    for pid in tree(root):
        with contextlib.suppress(OSError):
            rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
            found = re.search(r"^Pss:\s+(\d+) kB", rollup, re.M)
            total += int(found[1]) * 1024 if found else 0
    return total


def command_line(pid: int) -> str:
    """The words of a process's command, or nothing when it is gone."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
    return ""


def machine() -> str:
    """Cores, processor and Python."""
    model = re.search(r"model name\s*: (.+)", Path("/proc/cpuinfo").read_text())
    cores = len(os.sched_getaffinity(0))
    name = model[1] if model else platform.machine()
    return (
        f"{cores} cores of {name}, Linux {platform.release()}, Python {platform.python_version()}"
    )


def _fields(stat: Path) -> list[str]:
    return stat.read_text().rpartition(")")[2].split()
