"""How many processes, workers and onnxruntime threads the CPUs are good for.

found = plan(len(os.sched_getaffinity(0)), read_quota(), is_script=False,
             processes=None, workers=None, threads=None)
print(found.text)
# 1.5 CPUs (affinity 2, cgroup quota 1.5): 1 server process x 1 onnxruntime thread

A server process runs tiny models on its own thread, so one process with one onnxruntime thread for
each whole CPU is the most that is not slowed down by its siblings or by the quota.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath


@dataclass(frozen=True, slots=True)
class CpuPlan:
    """What to start. ``workers`` (per server process) is 0 without a script, ``threads`` (of
    onnxruntime, per server process) is 0 with one; ``text`` is the line to print at start."""

    processes: int
    workers: int
    threads: int
    cpus: float
    text: str


def plan(
    affinity: int,
    quota: float | None,
    *,
    is_script: bool,
    processes: int | None = None,
    workers: int | None = None,
    threads: int | None = None,
) -> CpuPlan:
    """Fill in what the user left open (None). ``affinity`` is in CPUs, ``quota`` too (None: no
    limit). ValueError for a number below 1."""
    for name, number in (("processes", processes), ("workers", workers), ("threads", threads)):
        if number is not None and number < 1:
            raise ValueError(f"{name} must be at least 1, not {number}")
    cpus = float(affinity) if quota is None else min(affinity, quota)
    whole = max(1, int(cpus))
    limit = "no cgroup quota" if quota is None else f"cgroup quota {quota:.3g}"
    head = f"{_counted(cpus, 'CPU')} (affinity {affinity}, {limit}): "
    if is_script:
        processes, workers = processes or 1, workers or 1  # 1 worker is Azure's default
        text = f"{_counted(processes, 'server process')} x {_counted(workers, 'worker')}"
        return CpuPlan(processes, workers, 0, cpus, head + text)
    if processes is None:
        processes = max(1, whole // (threads or 1))
    threads = threads or max(1, whole // processes)
    text = f"{_counted(processes, 'server process')} x {_counted(threads, 'onnxruntime thread')}"
    if processes * threads > whole:
        text += ", more than the CPUs"
    return CpuPlan(processes, 0, threads, cpus, head + text)


def read_quota(root: Path = Path("/")) -> float | None:
    """The CPUs that the cgroups of this process allow, the least of the whole hierarchy; None
    without a limit. Reads version 2 and version 1 and never raises; ``root`` is for tests."""
    quotas: list[float] = []
    for folder in _cgroups(root):
        quotas += _v2_quota(folder), _v1_quota(folder)
    least = min(quotas, default=_NO_LIMIT)
    return None if least == _NO_LIMIT else least


_NO_LIMIT = float("inf")


@dataclass(frozen=True, slots=True)
class _Mount:
    """A mounted cgroup hierarchy; ``top`` is the cgroup that its mount point shows."""

    top: PurePosixPath
    point: Path
    is_v2: bool


def _cgroups(root: Path) -> Iterator[Path]:
    """The folders of this process's CPU cgroups and of all above them that can be seen."""
    try:
        mounts = list(_mounts((root / "proc/self/mountinfo").read_text(), root))
        lines = (root / "proc/self/cgroup").read_text().splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        is_v2 = not controllers
        if is_v2 or "cpu" in controllers.split(","):
            for mount in mounts:
                if mount.is_v2 == is_v2:
                    yield from _upwards(mount, PurePosixPath(path))


def _mounts(mountinfo: str, root: Path) -> Iterator[_Mount]:
    for line in mountinfo.splitlines():
        before, _, after = line.partition(" - ")
        kind, _, options, *_ = *after.split(), "", "", ""
        fields = [_unescape(field) for field in before.split()]
        is_v2 = kind == "cgroup2"
        if len(fields) > 4 and (is_v2 or (kind == "cgroup" and "cpu" in options.split(","))):
            yield _Mount(PurePosixPath(fields[3]), root / fields[4].lstrip("/"), is_v2)


def _upwards(mount: _Mount, path: PurePosixPath) -> Iterator[Path]:
    """The cgroup's folder and its parents up to the mount point. A container that does not see its
    own cgroup's path (no cgroup namespace) has it mounted at the point itself."""
    inside = PurePosixPath()
    if ".." not in path.parts and path.is_relative_to(mount.top):
        inside = path.relative_to(mount.top)
    for part in (inside, *inside.parents):
        yield mount.point / part


def _v2_quota(folder: Path) -> float:
    fields = _read(folder / "cpu.max").split()  # "150000 100000" or "max 100000"
    return _ratio(*fields) if len(fields) == 2 else _NO_LIMIT


def _v1_quota(folder: Path) -> float:
    quota = _read(folder / "cpu.cfs_quota_us").strip()  # -1: no limit
    return _ratio(quota, _read(folder / "cpu.cfs_period_us").strip())


def _ratio(quota: str, period: str) -> float:
    if not (quota.isdecimal() and period.isdecimal() and int(quota) and int(period)):
        return _NO_LIMIT
    return int(quota) / int(period)


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except (OSError, UnicodeDecodeError):
        return ""


def _unescape(field: str) -> str:
    return re.sub(r"\\([0-7]{3})", lambda found: chr(int(found[1], 8)), field)


def _counted(number: float, word: str) -> str:
    ending = "" if number == 1 else "es" if word.endswith("s") else "s"
    return f"{number:.3g} {word}{ending}"
