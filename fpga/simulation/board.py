"""The programmable logic with its memory: one Verilated board, through ctypes.

logic = Logic(SMALL, build="00...", memory=np.zeros(1 << 20, np.uint8), base=0x1000_0000)
logic.write(registers.ENGINE_BASE + registers.CONTROL, 1)
"""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from fpga.errors import BoardError
from fpga.isa.shape import EngineShape
from fpga.simulation.library import HARNESS, build, sources

Array = Any


@dataclass(frozen=True, slots=True)
class Latencies:
    """Clocks: of an access of the PS to a register, until the first beat of a burst, and between
    bursts. Assumptions, not measurements of a board."""

    mmio: int = 30
    first_beat: int = 40
    gap: int = 4


class Logic:
    """One board's logic, in reset state. Not for several threads at once.

    ``built``: another library than that of the shape, for tests of the harness.
    """

    def __init__(
        self,
        shape: EngineShape,
        build_hash: str,
        memory: Array,
        base: int,
        *,
        built: Path | None = None,
    ) -> None:
        if memory.dtype != np.uint8 or not memory.flags.c_contiguous:
            raise BoardError("a board's memory is bytes in a row")
        self._library = _load(built or library(shape, build_hash))
        self._memory = memory  # it must outlive the board
        self._handle = self._library.board_new(
            memory.ctypes.data_as(ctypes.c_void_p), base, memory.nbytes
        )
        self.set_latencies(Latencies())

    def close(self) -> None:
        """Idempotent."""
        if self._handle:
            self._library.board_free(self._handle)
            self._handle = None

    @property
    def clock(self) -> int:
        """Clocks since it was made."""
        return int(self._library.board_clock(self._handle))

    @property
    def leds(self) -> int:
        return int(self._library.board_leds(self._handle))

    def set_latencies(self, found: Latencies) -> None:
        self._library.board_latency(self._handle, found.mmio, found.first_beat, found.gap)

    def set_faults(
        self, *, stall: bool = False, drop_last: bool = False, slave_error: bool = False
    ) -> None:
        """``stall``: the engine's answers stand still; ``drop_last``: they have no TLAST;
        ``slave_error``: memory refuses."""
        self._library.board_fault(self._handle, stall, drop_last, slave_error)

    def set_stalls(self, of_256: int, seed: int) -> None:
        """In so many of 256 clocks, drawn by the seed, memory does nothing on a channel."""
        self._library.board_stalls(self._handle, of_256, seed)

    @property
    def owed(self) -> int:
        """Bursts that memory was asked for and that are not done."""
        return int(self._library.board_owed(self._handle))

    def run(self, clocks: int) -> None:
        """Raises BoardError where the logic breaks a rule of AXI, as `read` and `write` do."""
        self._library.board_run(self._handle, clocks)
        self._check()

    def read(self, address: int) -> int:
        """A register. Raises BoardError where none answers."""
        value = ctypes.c_uint32()
        if not self._library.board_read(self._handle, address, ctypes.byref(value)):
            raise BoardError(f"nothing answers at {address:#x}")
        self._check()
        return value.value

    def write(self, address: int, value: int) -> None:
        """A register. Raises BoardError where none answers."""
        if not self._library.board_write(self._handle, address, value & 0xFFFFFFFF):
            raise BoardError(f"nothing answers at {address:#x}")
        self._check()

    def _check(self) -> None:
        found = self._library.board_complaint(self._handle)
        if found is not None:
            raise BoardError(f"the logic breaks AXI: {found.decode()}")


def library(shape: EngineShape, build_hash: str) -> Path:
    """Built when it is not there yet (some ten seconds). Raises ToolError."""
    parameters: dict[str, int | str] = {
        "N": shape.n, "RQ": shape.rq, "W_WORDS": shape.w_words, "P_WORDS": shape.p_words,
        "D_WORDS": shape.d_words, "X_WORDS": shape.x_words, "A_WORDS": shape.a_words,
        "B_WORDS": shape.b_words, "BUILD": f"128'h{build_hash}",
    }  # fmt: skip
    return build("board", HARNESS / "board.cpp", parameters, verilog=sources())


@cache
def _load(path: Path) -> Any:
    found = ctypes.CDLL(str(path))
    found.board_new.restype = ctypes.c_void_p
    found.board_new.argtypes = [ctypes.c_void_p, ctypes.c_uint32, ctypes.c_uint64]
    found.board_clock.restype = ctypes.c_uint64
    found.board_leds.restype = ctypes.c_uint32
    found.board_owed.restype = ctypes.c_uint64
    found.board_complaint.restype = ctypes.c_char_p
    signatures: tuple[tuple[Any, ...], ...] = (
        ("board_free",), ("board_clock",), ("board_leds",), ("board_owed",), ("board_complaint",),
        ("board_run", ctypes.c_uint64), ("board_stalls", ctypes.c_uint, ctypes.c_uint64),
        ("board_latency", *[ctypes.c_uint] * 3), ("board_fault", *[ctypes.c_int] * 3),
        ("board_write", *[ctypes.c_uint32] * 2),
        ("board_read", ctypes.c_uint32, ctypes.POINTER(ctypes.c_uint32)),
    )  # fmt: skip
    for name, *types in signatures:
        getattr(found, name).argtypes = [ctypes.c_void_p, *types]
    return found
