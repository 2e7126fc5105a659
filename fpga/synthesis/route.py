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
# What was found to give the fastest results: a placer that minds timing more than it does by
# itself, and the older router (the other's results are 10 to 20 % slower on the same placement).
_EFFORT = (
    *("--placer-heap-timingweight", "30", "--placer-heap-critexp", "4"),
    *("--router", "router1"),
)


@dataclass(frozen=True)
class Routed:
    """fmax_mhz: after routing. bitstream: where it lies."""

    fmax_mhz: float
    bitstream: Path


def route(folder: Path, nextpnr: str, ecppack: str, speed: int = 6, seed: int = 3) -> Routed:
    """Makes engine.bit in `folder` with yosys and the named tools (nextpnr-ecp5, ecppack).

    speed: the chip's grade, 6 (slowest), 7 or 8. seed: of eight that were tried the fastest.
    Raises ToolError.
    """
    # The order matters: another one gives other names, and with them another placement.
    files = [*engine_sources(ecp5=True), RTL / "serial.v"]
    files.sort(key=lambda path: (path.parent == RTL, path.name))
    sources = " ".join(map(str, files))
    script = f"read_verilog {sources}; synth_ecp5 -abc9 -top serial -json engine.json"
    run_tool(["yosys", "-q", "-p", script], folder, timeout_s=1800)
    log = run_tool(
        [
            *(nextpnr, "--85k", "--package", "CABGA381", "--speed", str(speed), "--freq", "100"),
            *("--json", "engine.json", "--textcfg", "engine.config", "--seed", str(seed)),
            *(*_EFFORT, "--timing-allow-fail"),
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
