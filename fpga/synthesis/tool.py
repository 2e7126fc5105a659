"""Runs a synthesis tool; its failure is a ToolError of one line."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from fpga.errors import ToolError


def run_tool(command: Sequence[str], folder: Path, timeout_s: float) -> str:
    """What the tool printed. Raises ToolError if it is missing, fails or takes too long."""
    name = Path(command[0]).name
    if shutil.which(command[0]) is None:
        raise ToolError(f"{name} is not installed")
    try:
        done = subprocess.run(
            command, cwd=folder, capture_output=True, text=True, timeout=timeout_s, check=False
        )
    except subprocess.TimeoutExpired:
        raise ToolError(f"{name} took more than {timeout_s:.0f} s") from None
    if done.returncode:
        lines = (done.stderr.strip() or done.stdout.strip() or "no message").splitlines()
        raise ToolError(f"{name} failed: {lines[-1]}")
    return done.stdout + done.stderr
