"""What an engine takes of a Zynq 7020, estimated by yosys."""

from __future__ import annotations

import re
import tempfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from fpga.errors import ToolError
from fpga.isa.shape import EngineShape
from fpga.synthesis.sources import engine_sources, parameters
from fpga.synthesis.tool import run_tool

_CELL = re.compile(r"^\s+([A-Z][A-Z0-9_]+)\s+(\d+)\s*$", re.MULTILINE)
# LUTs that a cell of distributed RAM or a shift register takes.
_MEMORY_LUTS = {"RAM32M": 4, "RAM64M": 4, "RAM32X1D": 2, "RAM64X1D": 2, "SRL16E": 1, "SRLC32E": 1}


@dataclass(frozen=True)
class Resources:
    """Of a chip, or of a design. Block RAMs count as RAMB36; a RAMB18 is half of one."""

    luts: int
    registers: int
    dsps: int
    block_rams: float


XC7Z020 = Resources(luts=53_200, registers=106_400, dsps=220, block_rams=140)


def estimate(shape: EngineShape, timeout_s: float = 1800) -> Resources:
    """Synthesises the engine of `shape` for a 7z020; half a minute for N = 8, minutes for N = 16.

    Raises ToolError.
    """
    sources = " ".join(str(path) for path in engine_sources())
    settings = " ".join(f"-set {name} {value}" for name, value in parameters(shape, True).items())
    script = (
        f"read_verilog {sources}; chparam {settings} engine; "
        "synth_xilinx -family xc7 -flatten -noiopad -top engine; tee -o stat.txt stat"
    )
    with tempfile.TemporaryDirectory() as folder:
        run_tool(["yosys", "-q", "-p", script], Path(folder), timeout_s)
        return parse_stat((Path(folder) / "stat.txt").read_text())


def parse_stat(text: str) -> Resources:
    """The totals of yosys' `stat`. Raises ToolError for a text without cells."""
    cells: Counter[str] = Counter()
    for name, count in _CELL.findall(text):
        cells[name] += int(count)
    if not cells:
        raise ToolError("yosys counted no cells")
    logic = sum(count for name, count in cells.items() if re.fullmatch(r"LUT[1-6]", name))
    memory = sum(_MEMORY_LUTS.get(name, 0) * count for name, count in cells.items())
    return Resources(
        luts=logic + memory,
        registers=sum(count for name, count in cells.items() if re.fullmatch(r"FD[A-Z]+", name)),
        dsps=cells["DSP48E1"],
        block_rams=cells["RAMB36E1"] + cells["RAMB18E1"] / 2,
    )


def table(used: Resources, chip: Resources = XC7Z020) -> str:
    """Rows of: resource, used, of how many, percent."""
    rows = []
    for name in ("luts", "registers", "dsps", "block_rams"):
        have, of = getattr(used, name), getattr(chip, name)
        rows.append(f"{name:<11} {have:>8g} of {of:>7g}  {100 * have / of:5.1f} %")
    return "\n".join(rows)
