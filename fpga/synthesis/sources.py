"""The engine's Verilog, without what a board puts around it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from fpga.isa.shape import EngineShape

RTL = Path(__file__).resolve().parents[1] / "rtl"
_ENGINE = (
    *("adder", "array", "descriptors", "dot", "engine", "fifo", "issue", "loader", "memory"),
    *("multiplier", "output_fifo", "prefetch", "products", "registers", "requantiser", "results"),
    *("slice", "sum_tree", "walker"),
)


def engine_sources(ecp5: bool = False) -> list[Path]:
    """The files of module `engine`. ecp5: with an ECP5's memories and multipliers (PACK = 0)."""
    chosen = []
    for name in _ENGINE:
        special = RTL / "ecp5" / f"{name}.v"
        chosen.append(special if ecp5 and special.exists() else RTL / f"{name}.v")
    return chosen


def parameters(shape: EngineShape, pack: bool) -> Mapping[str, int]:
    """The Verilog parameters of a shape. pack: two products in one multiplier (DSP48)."""
    values = {name.upper(): value for name, value in shape.as_dict().items()}
    return {**values, "PACK": int(pack)}
