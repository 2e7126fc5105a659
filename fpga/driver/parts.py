"""Boards, the parts on them, and what the parts say of themselves."""

from __future__ import annotations

from dataclasses import dataclass

from fpga.errors import BitstreamError

IDCODE_MASK = 0x0FFFFFFF  # the upper four bits are the silicon's revision
IDCODE_ADDRESS = 0xF8000530  # SLCR.PSS_IDCODE of every Zynq-7000 (UG585, appendix B)


@dataclass(frozen=True)
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

_SILICON = {
    0x03722093: "7z010", 0x0373B093: "7z015", 0x03727093: "7z020", 0x0372C093: "7z030",
    0x03732093: "7z035", 0x03731093: "7z045", 0x03736093: "7z100",
}  # fmt: skip


def kind_of(name: str) -> BoardKind:
    """Raises BitstreamError for a board that is not known."""
    if name.lower() not in KINDS:
        raise BitstreamError(f"no board {name[:40]!a}; there are {', '.join(sorted(KINDS))}")
    return KINDS[name.lower()]


def idcode_of(part: str) -> int:
    """Of a part, whatever its package and speed. Raises BitstreamError."""
    for kind in KINDS.values():
        if part.startswith(kind.part[:7]):
            return kind.idcode
    raise BitstreamError(f"no part {part!r} is known; there are xc7z010 and xc7z020")


def short(part: str) -> str:
    """As a .bit says it, without xc and speed: xc7z020clg400-1 is 7z020clg400."""
    whole = part[2:] if part.startswith("xc") else part
    return whole.rsplit("-", 1)[0]


def part_of_board(name: str) -> str | None:
    """`short` of what is soldered to it; None for a board that is not known by name."""
    kind = KINDS.get(name.lower())
    return None if kind is None else short(kind.part)


def silicon(idcode: int) -> str:
    """What an IDCODE stands for: 7z020, or the number where nobody knows it."""
    return _SILICON.get(idcode & IDCODE_MASK, f"part with IDCODE {idcode:#010x}")
