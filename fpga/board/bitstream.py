"""7-series bitstreams: the .bit file with its header, the .bin that the kernel's manager takes, and
the packets in them (Xilinx UG470, chapter 5).

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

from fpga.errors import BitstreamError, ProgramError
from fpga.isa.shape import EngineShape

SYNC = 0xAA995566
WRITE_IDCODE, WRITE_CMD, WRITE_FDRI = 0x30018001, 0x30008001, 0x30004000
DESYNC, NOOP = 0x0000000D, 0x20000000
LONG_WRITE = 0x50000000
MAGIC = b"INFERRY1"
MOST_BYTES = 64 << 20


@dataclass(frozen=True, slots=True)
class Header:
    """Of a .bit file. ``data``: what follows it."""

    design: str
    part: str
    date: str
    time: str
    data: bytes


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
    return _header(f"{name};Inferry=simulation;Version=2018.3", part, data)


def _header(design: str, part: str, data: bytes) -> bytes:
    def text(key: bytes, value: str) -> bytes:
        whole = value.encode() + b"\0"
        return key + struct.pack(">H", len(whole)) + whole

    # The Xilinx header: a length and nine bytes, then a length of one, then fields a to e.
    start = bytes.fromhex("00090ff00ff00ff00ff0000001")
    # part without xc and speed, as Vivado writes it: 7z020clg400
    short = part.removeprefix("xc").rsplit("-", 1)[0]
    return (
        start + text(b"a", design) + text(b"b", short) + text(b"c", "2026/01/01")
        + text(b"d", "00:00:00") + b"e" + struct.pack(">I", len(data)) + data
    )  # fmt: skip


def read_bit(data: bytes) -> Header:
    """A .bit file. Raises BitstreamError, saying what is wrong."""
    if len(data) > MOST_BYTES:
        raise BitstreamError(f"a bitstream of more than {MOST_BYTES >> 20} MiB")
    try:
        (length,) = struct.unpack_from(">H", data, 0)
        at = 2 + length + 2
        fields: dict[str, str] = {}
        for key in "abcd":
            if data[at : at + 1] != key.encode():
                raise BitstreamError(f"no .bit file: its field {key} is missing")
            (length,) = struct.unpack_from(">H", data, at + 1)
            fields[key] = data[at + 3 : at + 3 + length].rstrip(b"\0").decode("ascii")
            at += 3 + length
        if data[at : at + 1] != b"e":
            raise BitstreamError("no .bit file: its data are missing")
        (length,) = struct.unpack_from(">I", data, at + 1)
    except (struct.error, UnicodeDecodeError):
        raise BitstreamError("no .bit file: its header is cut short or no text") from None
    rest = data[at + 5 :]
    if len(rest) != length:
        raise BitstreamError(f"a .bit file with {len(rest)} bytes of data, not {length}")
    return Header(fields["a"], fields["b"], fields["c"], fields["d"], rest)


def to_bin(data: bytes) -> bytes:
    """Bytes of each word turned round, as the kernel's FPGA manager wants them on Zynq-7000. Its
    own inverse."""
    if len(data) % 4:
        raise BitstreamError("a bitstream is whole 32-bit words")
    return np.frombuffer(data, ">u4").astype("<u4").tobytes()


@dataclass(frozen=True, slots=True)
class Packets:
    """What a device reads from a bitstream. ``frames``: the data of FDRI."""

    idcode: int
    frames: bytes


def read_packets(data: bytes) -> Packets:
    """From the bytes after a .bit header. Raises BitstreamError."""
    if len(data) % 4:
        raise BitstreamError("a bitstream is whole 32-bit words")
    words = np.frombuffer(data, ">u4")
    found = np.flatnonzero(words == SYNC)
    if not len(found):
        raise BitstreamError("a bitstream without a sync word")
    at = int(found[0]) + 1
    idcode, frames = -1, b""
    while at < len(words):
        word = int(words[at])
        at += 1
        kind, count = word >> 29, word & 0x7FF
        if kind == 1 and word >> 27 & 3 == 2:
            register = word >> 13 & 0x1F
            if register == 0x0C and count == 1 and at < len(words):
                idcode = int(words[at])
            at += count
        elif kind == 2:
            count = word & 0x7FFFFFF
            if at + count > len(words):
                raise BitstreamError("a bitstream that is cut short")
            frames += words[at : at + count].tobytes()
            at += count
    if idcode < 0:
        raise BitstreamError("a bitstream that names no part (IDCODE)")
    return Packets(idcode, frames)


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
