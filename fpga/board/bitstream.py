"""7-series bitstreams of simulated designs: the .bit file, and the .bin that the kernel's manager
takes. They are read in fpga/driver/bitfile.py.

A simulated design is a valid file for its part: sync word, IDCODE, and frame data that name the
engine instead of configuring it. No real device is harmed: the driver refuses to send it, and a
part that got it all the same would find no CRC and no frames that fit.
"""

from __future__ import annotations

import json
import struct
from dataclasses import dataclass
from typing import Any

import numpy as np

from fpga.driver.bitfile import SIMULATION, SYNC
from fpga.driver.parts import short
from fpga.errors import BitstreamError, ProgramError
from fpga.isa.shape import EngineShape

WRITE_IDCODE, WRITE_CMD, WRITE_FDRI = 0x30018001, 0x30008001, 0x30004000
DESYNC, NOOP = 0x0000000D, 0x20000000
LONG_WRITE = 0x50000000
MAGIC = b"INFERRY1"


@dataclass(frozen=True, slots=True)
class SimulatedDesign:
    """What a simulated bitstream stands for."""

    shape: EngineShape
    build: str


def make(design: SimulatedDesign, part: str, idcode: int, name: str) -> bytes:
    """A .bit file. The same inputs give the same bytes."""
    document = {"provenance": "simulation", "shape": design.shape.as_dict(), "build": design.build}
    payload = MAGIC + json.dumps(document, sort_keys=True).encode()
    payload += b"\0" * (-len(payload) % 4)
    words = [
        *[0xFFFFFFFF] * 8, 0x000000BB, 0x11220044, 0xFFFFFFFF, 0xFFFFFFFF, SYNC, NOOP,
        WRITE_IDCODE, idcode, NOOP, WRITE_FDRI, LONG_WRITE | len(payload) // 4,
        *struct.unpack(f">{len(payload) // 4}I", payload), WRITE_CMD, DESYNC, NOOP, NOOP,
    ]  # fmt: skip
    data = struct.pack(f">{len(words)}I", *words)
    return _header(f"{name};{SIMULATION};Version=2018.3", part, data)


def _header(design: str, part: str, data: bytes) -> bytes:
    def text(key: bytes, value: str) -> bytes:
        whole = value.encode() + b"\0"
        return key + struct.pack(">H", len(whole)) + whole

    # The Xilinx header: a length and nine bytes, then a length of one, then fields a to e.
    start = bytes.fromhex("00090ff00ff00ff00ff0000001")
    return (
        start + text(b"a", design) + text(b"b", short(part)) + text(b"c", "2026/01/01")
        + text(b"d", "00:00:00") + b"e" + struct.pack(">I", len(data)) + data
    )  # fmt: skip


def to_bin(data: bytes) -> bytes:
    """Bytes of each word turned round, as the kernel's FPGA manager wants them on Zynq-7000. Its
    own inverse."""
    if len(data) % 4:
        raise BitstreamError("a bitstream is whole 32-bit words")
    return np.frombuffer(data, ">u4").astype("<u4").tobytes()


def simulated(frames: bytes) -> SimulatedDesign | None:
    """What a simulated bitstream stands for; None for any other. Raises BitstreamError where it is
    ours and malformed."""
    if not frames.startswith(MAGIC):
        return None
    try:
        document: Any = json.loads(frames[len(MAGIC) :].rstrip(b"\0"))
        build = str(document["build"])
        shape = EngineShape.from_dict(document["shape"])
    except (ValueError, KeyError, TypeError, RecursionError, ProgramError):
        raise BitstreamError("a simulated bitstream that is malformed") from None
    if len(build) != 32 or set(build) - set("0123456789abcdef"):
        raise BitstreamError("a simulated bitstream whose build is no hash")
    return SimulatedDesign(shape, build)
