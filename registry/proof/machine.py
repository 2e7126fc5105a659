"""Whether this machine can run what was made for a target, and with which Python."""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
import sys
from pathlib import Path

from registry.platforms import Platform, Target

PROBE_S = 10.0


def misfit(target: Target) -> str | None:
    """Why this machine cannot run it, in words; None when it can."""
    if not runs(target.platform):
        return f"{target.platform} cannot run on this machine"
    own = _glibc()
    if own is None or own < target.glibc:
        found = "another C library" if own is None else f"glibc {own[0]}.{own[1]}"
        wanted = f"glibc {target.glibc[0]}.{target.glibc[1]}"
        return f"the image has {wanted}, this machine {found}"
    return None


def runs(wanted: Platform) -> bool:
    """Whether this machine runs it without emulation."""
    return sys.platform == "linux" and platform.machine() == wanted.machine


def find_python(version: tuple[int, int]) -> Path | None:
    """An interpreter of that version here: this one, or the one on PATH."""
    own = getattr(sys, "_base_executable", None) or sys.executable
    if sys.version_info[:2] == version and sys.implementation.name == "cpython":
        return Path(own)
    found = shutil.which(f"python{version[0]}.{version[1]}")
    return Path(found) if found is not None and _is_python(found, version) else None


def _is_python(command: str, version: tuple[int, int]) -> bool:
    """What has the right name may be a launcher for what is not there."""
    code = "import sys; print(sys.implementation.name, *sys.version_info[:2])"
    try:
        done = subprocess.run(
            [command, "-I", "-c", code],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=PROBE_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.stdout.decode(errors="replace").split() == ["cpython", *map(str, version)]


def _glibc() -> tuple[int, int] | None:
    try:
        text = os.confstr("CS_GNU_LIBC_VERSION") or ""
    except (OSError, ValueError):
        return None
    found = re.fullmatch(r"glibc (\d+)\.(\d+).*", text)
    return None if found is None else (int(found[1]), int(found[2]))


def memory_bytes() -> int:
    """Of this machine; three quarters of it, so that a proof that wants all takes not all."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 4 * 3
