"""Files as Vivado writes them, as far as anybody reads them here."""

from __future__ import annotations

import struct

import numpy as np

from fpga.board import hwh
from fpga.driver.handoff import FREQUENCY
from fpga.driver.parts import KINDS

KIND = KINDS["pynq-z2"]


def vivado_bit(
    part: str = "7z020clg400", idcode: int = KIND.idcode, user_id: str = "FFFFFFFF", more: str = ""
) -> bytes:
    """A header, the sync word, the IDCODE, and frames of noise."""
    frames = np.random.default_rng(1).integers(0, 1 << 31, 500)
    words = [
        *[0xFFFFFFFF] * 8, 0x000000BB, 0x11220044, 0xFFFFFFFF, 0xAA995566, 0x20000000, 0x30018001,
        idcode, 0x30004000, 0x50000000 | len(frames), *(int(word) for word in frames), 0x30008001,
        0x0000000D,
    ]  # fmt: skip
    data = struct.pack(f">{len(words)}I", *words)

    def text(key: bytes, value: str) -> bytes:
        return key + struct.pack(">H", len(value) + 1) + value.encode() + b"\0"

    design = f"design_1_wrapper;UserID=0X{user_id};{more}Version=2022.1"
    return (
        bytes.fromhex("00090ff00ff00ff00ff0000001") + text(b"a", design) + text(b"b", part)
        + text(b"c", "2026/11/27") + text(b"d", "03:00:00") + b"e" + struct.pack(">I", len(data))
        + data
    )  # fmt: skip


def vivado_hwh(clock_mhz: float = 100.0, part: str = KIND.part) -> bytes:
    """As Vivado names the clock's frequency, which is not where pynq looks for it."""
    text = hwh.make(part, clock_mhz=clock_mhz).decode()
    return text.replace(FREQUENCY, "PCW_ACT_FPGA0_PERIPHERAL_FREQMHZ").encode()
