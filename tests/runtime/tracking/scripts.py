"""Runs training scripts in processes of their own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[3]


def start(code: str, folder: Path, *arguments: str, **environment: str) -> subprocess.Popen[str]:
    """A script that runs in ``folder``."""
    return subprocess.Popen(
        [sys.executable, "-c", code, *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def run_script(code: str, folder: Path, *arguments: str, **environment: str) -> tuple[str, str]:
    """What a script prints to its end; its exit code is not looked at."""
    with start(code, folder, *arguments, **environment) as process:
        return process.communicate(timeout=60)
