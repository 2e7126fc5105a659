"""Places and routes the engine of N = 8 on an ECP5-85F: a bitstream, and a real Fmax.

The engine sits in a frame that shifts its pins in and out bit by bit (fpga/rtl/serial.v), so it
proves timing and flow; it is no board's image. It takes about ten minutes.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from fpga.errors import ToolError
from fpga.synthesis.sources import RTL, engine_sources
from fpga.synthesis.tool import run_tool

_FMAX = re.compile(r"Max frequency for clock .*?: ([0-9.]+) MHz")


@dataclass(frozen=True)
class Routed:
    """fmax_mhz: after routing. bitstream: where it lies."""

    fmax_mhz: float
    bitstream: Path


def route(folder: Path, nextpnr: str, ecppack: str, seed: int = 1) -> Routed:
    """Makes engine.bit in `folder` with yosys and the named tools (nextpnr-ecp5, ecppack).

    Raises ToolError.
    """
    sources = " ".join(str(path) for path in [*engine_sources(), RTL / "serial.v"])
    script = f"read_verilog {sources}; synth_ecp5 -abc9 -top serial -json engine.json"
    run_tool(["yosys", "-q", "-p", script], folder, timeout_s=1800)
    log = run_tool(
        [
            *(nextpnr, "--85k", "--package", "CABGA381", "--speed", "6", "--freq", "100"),
            *("--json", "engine.json", "--textcfg", "engine.config", "--seed", str(seed)),
            *("--router", "router2", "--timing-allow-fail"),
        ],
        folder,
        timeout_s=3600,
    )
    run_tool([ecppack, "engine.config", "engine.bit"], folder, timeout_s=600)
    return Routed(parse_fmax(log), folder / "engine.bit")


def parse_fmax(log: str) -> float:
    """The last Fmax that nextpnr prints: after routing. Raises ToolError if there is none."""
    found = _FMAX.findall(log)
    if not found:
        raise ToolError("nextpnr printed no frequency")
    return float(found[-1])
