"""The design of a simulated engine: its build hash, its .bit and its .hwh."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass

from fpga.board import bitstream, hwh
from fpga.driver.parts import idcode_of, kind_of
from fpga.isa.shape import EngineShape
from fpga.simulation.library import sources


@dataclass(frozen=True, slots=True)
class Design:
    """``build``: 32 hexadecimal digits, as the BUILD registers say."""

    shape: EngineShape
    part: str
    build: str
    bit: bytes
    hwh: bytes


def build_hash(shape: EngineShape) -> str:
    """Of the Verilog and the engine's parameters: two engines with one hash are one engine."""
    found = hashlib.sha256(json.dumps(shape.as_dict(), sort_keys=True).encode())
    for path in sources():
        found.update(path.name.encode() + b"\0" + path.read_bytes())
    return found.hexdigest()[:32]


def simulated(shape: EngineShape, board: str = "pynq-z2") -> Design:
    """For a simulated board. Raises BitstreamError for a board that is not known."""
    part, build = kind_of(board).part, build_hash(shape)
    design = bitstream.SimulatedDesign(shape, build)
    bit = bitstream.make(design, part, idcode_of(part), f"inferry_{build[:16]}")
    return Design(shape, part, build, bit, hwh.make(part, name=f"inferry_{build[:16]}"))
