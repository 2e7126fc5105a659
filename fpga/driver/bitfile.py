"""Which part a .bit is for, and whether it is a simulation: from its header alone."""

from __future__ import annotations

import struct

from fpga.errors import BitstreamError

PARTS = {"Pynq-Z1": "7z020clg400", "Pynq-Z2": "7z020clg400", "Arty-Z7-10": "7z010clg400"}
"""What is soldered to the boards that the driver knows by name."""
SIMULATION = "Inferry=simulation"


class BitHeader:
    """``part``: as Vivado writes it, without xc and speed; ``is_simulation``: it says so itself."""

    def __init__(self, design: str, part: str) -> None:
        self.design, self.part = design, part
        self.is_simulation = SIMULATION in design


def read_header(bit: bytes) -> BitHeader:
    """Raises BitstreamError for what is no .bit file."""
    try:
        (length,) = struct.unpack_from(">H", bit, 0)
        at, found = 2 + length + 2, []
        for key in (b"a", b"b"):
            if bit[at : at + 1] != key:
                raise BitstreamError("design.bit is no .bit file")
            (length,) = struct.unpack_from(">H", bit, at + 1)
            found.append(bit[at + 3 : at + 3 + length].rstrip(b"\0").decode("ascii"))
            at += 3 + length
    except (struct.error, UnicodeDecodeError):
        raise BitstreamError("design.bit is no .bit file") from None
    return BitHeader(found[0], found[1])


def check(bit: bytes, board: str, is_simulated: bool, provenance: str) -> None:
    """Raises BitstreamError where a bitstream must not be sent to a board."""
    header = read_header(bit)
    if (header.is_simulation or provenance == "simulation") and not is_simulated:
        raise BitstreamError(
            "this image was made for simulation and cannot run on a real board: build its bitstream"
            " with `inferry fpga build` and Vivado"
        )
    part = PARTS.get(board)
    if part is not None and header.part != part:
        raise BitstreamError(
            f"this image is for a {header.part}, and {board} has a {part}: build it for this board"
        )
