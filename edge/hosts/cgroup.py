"""Limits of process instances by cgroup v2, where the machine lets us: as root, with the memory,
pids and cpu controllers at the top of the tree. Elsewhere the launcher weighs what runs.

cgroups = find_cgroups()
folder = cgroups.make("digits.live", Limits(memory_bytes=2**28)) if cgroups else None
"""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass
from pathlib import Path

from edge.errors import HostError
from edge.messages.desired import Limits

TREE = Path("/sys/fs/cgroup")
OURS = "inferry-edge"
NEEDED = frozenset({"memory", "pids", "cpu"})
PERIOD_US = 100_000


@dataclass(frozen=True, slots=True)
class Cgroups:
    """A folder of the cgroup tree that is ours."""

    folder: Path

    def make(self, name: str, limits: Limits) -> Path:
        """An empty group with these limits. Raises HostError."""
        group = self.folder / name
        try:
            self.remove(name)
            group.mkdir(exist_ok=True)
            for file, value in settings(limits).items():
                (group / file).write_text(value)
        except OSError as error:
            raise HostError(f"the cgroup of {name} cannot be made: {error.strerror}") from error
        return group

    def remove(self, name: str) -> None:
        """Nothing while processes are in it."""
        with contextlib.suppress(OSError):
            (self.folder / name).rmdir()


def settings(limits: Limits) -> dict[str, str]:
    """What to write into which file. Pure."""
    memory = "max" if limits.memory_bytes is None else str(limits.memory_bytes)
    cpus = "max" if limits.cpus is None else str(max(1000, int(limits.cpus * PERIOD_US)))
    return {
        "memory.max": memory,
        "memory.swap.max": "max" if limits.memory_bytes is None else "0",
        "memory.oom.group": "1",
        "pids.max": "max" if limits.processes is None else str(limits.processes),
        "cpu.max": f"{cpus} {PERIOD_US}",
    }


def find_cgroups(tree: Path = TREE) -> Cgroups | None:
    """None: there is no cgroup v2 here, or it is not ours to use."""
    try:
        if not set((tree / "cgroup.controllers").read_text().split()) >= NEEDED:
            return None
        _enable(tree)
        ours = tree / OURS
        ours.mkdir(exist_ok=True)
        _enable(ours)
        return Cgroups(ours) if os.access(ours, os.W_OK) else None
    except OSError:
        return None


def _enable(folder: Path) -> None:
    wanted = " ".join(f"+{name}" for name in sorted(NEEDED))
    (folder / "cgroup.subtree_control").write_text(wanted)
