"""Bitstreams as boards take them: the .bit file's header, the packets behind it (Xilinx UG470,
chapter 5), and whether a board may get one. What makes them is elsewhere."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Any

import numpy as np

from fpga.driver.parts import IDCODE_MASK, part_of_board, short, silicon
from fpga.errors import BitstreamError

SYNC = 0xAA995566
IDCODE_REGISTER = 0x0C
MOST_BYTES = 64 << 20
SIMULATION = "Inferry=simulation"
Array = Any


@dataclass(frozen=True)
class Header:
    """Of a .bit file. ``part``: as Vivado writes it, without xc and speed; ``data``: what follows
    the header."""

    design: str
    part: str
    date: str
    time: str
    data: bytes

    @property
    def is_simulation(self) -> bool:
        """It says so itself."""
        return SIMULATION in self.design


def read_bit(data: bytes) -> Header:
    """A .bit file. Raises BitstreamError, saying what is wrong."""
    if len(data) > MOST_BYTES:
        raise BitstreamError(f"a bitstream of more than {MOST_BYTES >> 20} MiB")
    try:
        (length,) = struct.unpack_from(">H", data, 0)
        at = 2 + length + 2
        fields = []
        for key in "abcd":
            if data[at : at + 1] != key.encode():
                raise BitstreamError(f"no .bit file: its field {key} is missing")
            (length,) = struct.unpack_from(">H", data, at + 1)
            fields.append(data[at + 3 : at + 3 + length].rstrip(b"\0").decode("ascii"))
            at += 3 + length
        if data[at : at + 1] != b"e":
            raise BitstreamError("no .bit file: its data are missing")
        (length,) = struct.unpack_from(">I", data, at + 1)
    except (struct.error, UnicodeDecodeError):
        raise BitstreamError("no .bit file: its header is cut short or no text") from None
    rest = data[at + 5 :]
    if len(rest) != length:
        raise BitstreamError(f"a .bit file with {len(rest)} bytes of data, not {length}")
    return Header(fields[0], fields[1], fields[2], fields[3], rest)


@dataclass(frozen=True)
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
    idcode, frames = -1, []
    while at < len(words):
        word = int(words[at])
        at += 1
        kind, count = word >> 29, word & 0x7FF
        if kind == 1 and word >> 27 & 3 == 2:
            if word >> 13 & 0x1F == IDCODE_REGISTER and count == 1 and at < len(words):
                idcode = int(words[at])
            at += count
        elif kind == 2:
            count = word & 0x7FFFFFF
            if at + count > len(words):
                raise BitstreamError("a bitstream that is cut short")
            frames.append(words[at : at + count].tobytes())
            at += count
    if idcode < 0:
        raise BitstreamError("a bitstream that names no part (IDCODE)")
    return Packets(idcode, b"".join(frames))


def check(bit: bytes, board: str, idcode: int | None, is_simulated: bool, provenance: str) -> None:
    """Raises BitstreamError where a bitstream must not be sent to a board.

    board: its name, which tells the package; idcode: what its silicon says of itself, None where
    nobody can ask it. Either is enough, both are looked at.
    """
    header = read_bit(bit)
    if (header.is_simulation or provenance == "simulation") and not is_simulated:
        raise BitstreamError(
            "this image was made for simulation and cannot run on a real board: build its bitstream"
            " with `inferry fpga build` and Vivado"
        )
    part = part_of_board(board)
    if part is not None and short(header.part) != part:  # openXC7 writes xc and the speed, too
        raise BitstreamError(
            f"this image is for a {header.part}, and {board} has a {part}: build it for this board"
        )
    wanted = read_packets(header.data).idcode
    if idcode is not None and (idcode ^ wanted) & IDCODE_MASK:
        raise BitstreamError(
            f"this image is for a {silicon(wanted)}, and the board has a {silicon(idcode)}: build"
            " it for this board"
        )
