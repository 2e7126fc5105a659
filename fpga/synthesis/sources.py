"""The engine's Verilog, without what a board puts around it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from fpga.isa.shape import EngineShape

RTL = Path(__file__).resolve().parents[1] / "rtl"
_AROUND = {"board.v", "dma.v", "gpio.v"}


def engine_sources() -> list[Path]:
    """All files of the engine and of its serial frame, sorted."""
    return sorted(path for path in RTL.glob("*.v") if path.name not in _AROUND)


def parameters(shape: EngineShape, pack: bool) -> Mapping[str, int]:
    """The Verilog parameters of a shape. pack: two products in one multiplier (DSP48)."""
    values = {name.upper(): value for name, value in shape.as_dict().items()}
    return {**values, "PACK": int(pack)}
