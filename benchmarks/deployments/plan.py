"""How much is measured, and what this machine has for it."""

from __future__ import annotations

import platform
import re
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from benchmarks.outcome import ROOT

ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}


@dataclass(frozen=True, slots=True)
class Plan:
    """``share`` of the whole: 0.1 is a tenth of the events. ``began_s``: of the part."""

    share: float = 1.0
    began_s: float = 0.0

    def times(self, whole: int, least: int = 1) -> int:
        """How many events, where the whole is so many."""
        return max(least, round(whole * self.share))

    def say(self, line: str) -> None:
        """While it runs."""
        print(f"  {time.monotonic() - self.began_s:5.0f} s  {line}", flush=True)

    def debian_base(self) -> Path | None:
        """What images for containers start from; scripts/test-base makes it."""
        found = re.search(r"^VERSION_CODENAME=(\w+)", Path("/etc/os-release").read_text(), re.M)
        architecture = ARCHITECTURES.get(platform.machine(), platform.machine())
        path = ROOT / f"build/base/{found[1] if found else ''}-{architecture}.tar"
        return path if path.exists() else None

    def has_engine(self, *words: str) -> bool:
        """Whether a Docker Engine answers; ``words``: which."""
        command = ["docker", *words, "version", "--format", "{{.Server.Version}}"]
        try:
            return subprocess.run(command, capture_output=True, timeout=20).returncode == 0
        except (OSError, subprocess.TimeoutExpired):
            return False
