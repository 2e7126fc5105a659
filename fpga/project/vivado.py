"""Runs Vivado on a written project. UNTESTED with Vivado itself: there is none here."""

from __future__ import annotations

import shutil
from pathlib import Path

from fpga.errors import ToolError
from fpga.synthesis.tool import run_tool

COMMAND = ("vivado", "-mode", "batch", "-source", "build.tcl")
TIMEOUT_S = 8 * 3600.0


def synthesise(folder: Path, timeout_s: float = TIMEOUT_S) -> Path:
    """design.bit in the project's folder. Raises ToolError where Vivado is missing, fails, does not
    meet timing, or makes no bitstream."""
    if shutil.which(COMMAND[0]) is None:
        raise ToolError(
            "Vivado is not installed here: take the project to where it is, run"
            f" `{' '.join(COMMAND)}`, and build again with --bitstream, --hwh and --provenance"
        )
    made = folder / "design.bit"
    made.unlink(missing_ok=True)  # one of before is not what is asked for
    run_tool(COMMAND, folder, timeout_s)
    if not made.is_file():
        raise ToolError("vivado ended without design.bit: see vivado.log in the project's folder")
    return made
