"""Which boot of the device this is: what ended with an earlier one did not end by itself."""

from __future__ import annotations

from pathlib import Path

PATH = Path("/proc/sys/kernel/random/boot_id")


def boot_id() -> str:
    """The kernel's, new at each boot; a constant where there is none."""
    try:
        return PATH.read_text().strip()
    except OSError:
        return "unknown"
