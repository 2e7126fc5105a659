"""design.bit and design.hwh of a build: of a simulated engine, or from Vivado or openXC7, checked.

    design = simulated(LARGE, "pynq-z2")
    design = given(Given(Path("design.bit"), Path("design.hwh"), "vivado"), LARGE, "pynq-z2")

A file says for which part it is, and Vivado's also of which engine, when the project set its
UserID (fpga/project). That the logic has the engine's build is seen on the board alone.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

from fpga.artifact import Bitstream
from fpga.board import bitstream, designs
from fpga.driver import bitfile, handoff
from fpga.driver.parts import IDCODE_MASK, KINDS, idcode_of, kind_of, short
from fpga.errors import BitstreamError, CapacityError
from fpga.isa.shape import EngineShape

REAL = ("vivado", "openxc7")
CLOCK_MHZ = 100.0
DSPS = {"xc7z010": 80, "xc7z020": 220}
_USER_ID = re.compile(r"UserID=0X([0-9A-F]{8})", re.IGNORECASE)
_NO_USER_ID = "ffffffff"


@dataclass(frozen=True, slots=True)
class Given:
    """A real bitstream. ``provenance``: the tool that made it, one of REAL."""

    bit: Path
    hwh: Path
    provenance: str


@dataclass(frozen=True, slots=True)
class Design:
    """``build``: what the engine's BUILD registers shall say; ``described``: as program.json has
    it; ``remarks``: lines for people."""

    bit: bytes
    hwh: bytes
    build: str
    described: Bitstream
    remarks: tuple[str, ...] = ()


def simulated(shape: EngineShape, board: str) -> Design:
    """Raises BitstreamError for a board that is not known."""
    found = designs.simulated(shape, board)
    remarks = ["the bitstream is a simulation: no real board takes it"]
    if (lack := _lack(shape, board)) is not None:
        remarks.append(lack)
    described = _described(found.bit, board, "simulation")
    return Design(found.bit, found.hwh, found.build, described, tuple(remarks))


def given(files: Given, shape: EngineShape, board: str) -> Design:
    """Raises BitstreamError where the files are not for this board and engine."""
    if files.provenance not in REAL:
        raise BitstreamError(f"a bitstream is from {' or '.join(REAL)}, not {files.provenance!r}")
    bit, build = _read(files.bit), designs.build_hash(shape)
    remark = _checked(files.bit.name, bit, board, build)
    description = _description(files.hwh, board)
    clock_mhz = _clock_mhz(description)
    described = _described(bit, board, files.provenance, clock_mhz)
    return Design(bit, description, build, described, (remark,) if remark else ())


def check_fits(shape: EngineShape, board: str) -> None:
    """Raises CapacityError where the board's part has too few multipliers for the engine."""
    if (lack := _lack(shape, board)) is not None:
        raise CapacityError(f"{lack}: take fewer lanes, or another board")


def _lack(shape: EngineShape, board: str) -> str | None:
    """Two of the array's multiplications are in one DSP block, and a requantiser has four."""
    part = kind_of(board).part
    needed, there = shape.n * shape.n // 2 + 4 * shape.rq, DSPS[part[:7]]
    if needed <= there:
        return None
    return (
        f"an engine of {shape.n} lanes needs about {needed} DSP blocks, and the {part} of a"
        f" {board} has {there}"
    )


def _described(bit: bytes, board: str, provenance: str, clock_mhz: float = CLOCK_MHZ) -> Bitstream:
    """For all boards with this part."""
    part = kind_of(board).part
    boards = tuple(sorted(kind.name for kind in KINDS.values() if kind.part == part))
    return Bitstream(provenance, part, hashlib.sha256(bit).hexdigest(), boards, clock_mhz)


def _read(path: Path) -> bytes:
    try:
        if path.exists() and not path.is_file():
            raise BitstreamError(f"'{path.name}' is no plain file")
        if path.stat().st_size > bitfile.MOST_BYTES:
            raise BitstreamError(f"'{path.name}' is larger than {bitfile.MOST_BYTES >> 20} MiB")
        return path.read_bytes()
    except OSError as error:
        raise BitstreamError(f"'{path.name}' cannot be read: {error.strerror}") from None


def _checked(name: str, bit: bytes, board: str, build: str) -> str:
    """What could not be checked, "" where all was."""
    try:
        header = bitfile.read_bit(bit)
        packets = bitfile.read_packets(header.data)
    except BitstreamError as error:
        raise BitstreamError(f"'{name}': {error}") from None
    part = kind_of(board).part
    if short(header.part) != short(part):
        raise BitstreamError(f"'{name}' is for a {short(header.part)}, and {board} has a {part}")
    if (packets.idcode ^ idcode_of(part)) & IDCODE_MASK:
        raise BitstreamError(f"'{name}': its IDCODE {packets.idcode:#x} is not that of a {part}")
    if header.is_simulation or bitstream.simulated(packets.frames) is not None:
        raise BitstreamError(f"'{name}' is a simulation, and no real bitstream")
    found = _USER_ID.search(header.design)
    if found is None or found[1].lower() == _NO_USER_ID:
        return "the bitstream does not say of which engine it is: that is seen on the board"
    if found[1].lower() != build[:8]:
        raise BitstreamError(
            f"'{name}' is of the engine {found[1].lower()}, and this is {build[:8]}: make it anew"
            " with the project that `inferry fpga build --project` writes now"
        )
    return ""


def _description(path: Path, board: str) -> bytes:
    """The .hwh, with what pynq misses."""
    text = _read(path)
    try:
        handoff.check(text)
        mended = handoff.mended(text)
    except BitstreamError as error:
        raise BitstreamError(f"'{path.name}': {error}") from None
    system, part = ElementTree.fromstring(mended).find("SYSTEMINFO"), short(kind_of(board).part)
    device = "" if system is None else f"{system.get('DEVICE', '')}{system.get('PACKAGE', '')}"
    if device != part:
        raise BitstreamError(f"'{path.name}' is for {device[:40]!a}, and {board} has a {part}")
    return mended


def _clock_mhz(description: bytes) -> float:
    """Of FCLK0. Raises BitstreamError for one that is no frequency."""
    root = ElementTree.fromstring(description)
    found = {each.get("NAME"): each.get("VALUE") for each in root.iter("PARAMETER")}
    text = found.get(handoff.FREQUENCY)
    try:
        clock_mhz = CLOCK_MHZ if text is None else float(text)
    except ValueError:
        clock_mhz = 0.0
    if not 1 <= clock_mhz <= 1000:
        raise BitstreamError(f"the .hwh says that the clock is {str(text)[:40]!a} MHz")
    return clock_mhz
