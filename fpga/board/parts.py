"""Boards, the parts on them, and what the parts say of themselves."""

from __future__ import annotations

from dataclasses import dataclass

from fpga.errors import BitstreamError

IDCODE_MASK = 0x0FFFFFFF  # the upper four bits are the silicon's revision


@dataclass(frozen=True, slots=True)
class BoardKind:
    """``name``: as pynq says it (/proc/device-tree/chosen/pynq_board)."""

    name: str
    part: str
    idcode: int
    cma_bytes: int


KINDS = {
    "pynq-z1": BoardKind("Pynq-Z1", "xc7z020clg400-1", 0x03727093, 128 << 20),
    "pynq-z2": BoardKind("Pynq-Z2", "xc7z020clg400-1", 0x03727093, 128 << 20),
    "arty-z7-10": BoardKind("Arty-Z7-10", "xc7z010clg400-1", 0x03722093, 64 << 20),
}
"""IDCODEs: Xilinx UG470, table 1-1, and UG585."""


def kind_of(name: str) -> BoardKind:
    """Raises BitstreamError for a board that is not known."""
    if name.lower() not in KINDS:
        raise BitstreamError(f"no board {name!r}; there are {', '.join(sorted(KINDS))}")
    return KINDS[name.lower()]


def idcode_of(part: str) -> int:
    """Of a part, whatever its package and speed. Raises BitstreamError."""
    for kind in KINDS.values():
        if part.startswith(kind.part[:7]):
            return kind.idcode
    raise BitstreamError(f"no part {part!r} is known; there are xc7z010 and xc7z020")
