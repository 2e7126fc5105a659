"""The machine that the agent runs on, as /proc and the disk say."""

from __future__ import annotations

import os
import platform
from pathlib import Path

from edge.clock import boot_id
from edge.messages.reported import HostReport


def report(folder: Path) -> HostReport:
    """``folder``: on the disk that counts. What a kernel does not tell is 0."""
    disk = os.statvfs(folder)
    memory = _memory(_text("/proc/meminfo"))
    return HostReport(
        disk_free_bytes=disk.f_bavail * disk.f_frsize,
        disk_total_bytes=disk.f_blocks * disk.f_frsize,
        memory_available_bytes=memory.get("MemAvailable", memory.get("MemFree", 0)),
        memory_total_bytes=memory.get("MemTotal", 0),
        load1=_first(_text("/proc/loadavg")),
        uptime_s=_first(_text("/proc/uptime")),
        boot_id=boot_id(),
        temperature_c=_temperature(),
    )


def kind() -> str:
    """Like "Linux aarch64"."""
    return f"{platform.system()} {platform.machine()}"


def resident_bytes(status: str | None = None) -> int:
    """The memory of this process that is in RAM."""
    text = _text("/proc/self/status") if status is None else status
    return _memory(text).get("VmRSS", 0)


def _memory(text: str) -> dict[str, int]:
    """Lines like "MemTotal:  16384 kB", in bytes."""
    found = {}
    for line in text.splitlines():
        name, _, rest = line.partition(":")
        words = rest.split()
        if len(words) == 2 and words[1] == "kB" and words[0].isdigit():
            found[name] = int(words[0]) * 1024
    return found


def _first(text: str) -> float:
    try:
        return float(text.split()[0])
    except (IndexError, ValueError):
        return 0.0


def _temperature() -> float | None:
    try:
        return int(_text("/sys/class/thermal/thermal_zone0/temp")) / 1000
    except ValueError:
        return None


def _text(path: str) -> str:
    try:
        return Path(path).read_text()
    except OSError:
        return ""
