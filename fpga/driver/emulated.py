"""No board at all: the emulator behind the driver's port, for those who have neither board nor
Verilator. It has no clocks; everything is done at once."""

from __future__ import annotations

from typing import Any

import numpy as np

from fpga.emulator import EmulatedEngine
from fpga.errors import BoardError, CapacityError, ProgramError
from fpga.isa import registers
from fpga.isa.shape import EngineShape

Array = Any
DMA, ENGINE = registers.DMA_BASE, registers.ENGINE_BASE
BASE = 0x10000000


class EmulatedBuffer:
    """Memory that both sides see at once."""

    def __init__(self, beats: int, address: int, memory: dict[int, Array]) -> None:
        self.beats = np.zeros(beats, "<u8")
        self.address = address
        self._memory = memory
        memory[address] = self.beats

    def flush(self, beats: int) -> None:
        """Nothing is held back."""

    def invalidate(self, beats: int) -> None:
        """Nothing is held back."""

    def free(self) -> None:
        self._memory.pop(self.address, None)


class EmulatedHardware:
    """``cma_bytes``: how much contiguous memory it pretends to have."""

    name = "Emulated"
    idcode: int | None = None
    is_simulated = True
    seconds_per_clock = 1e-5

    def __init__(
        self, shape: EngineShape, build: str = "0" * 32, cma_bytes: int = 64 << 20
    ) -> None:
        self.lock_name = f"emulated-{id(self)}"
        self._shape, self._build, self._cma_bytes = shape, build, cma_bytes
        self._memory: dict[int, Array] = {}
        self._engine: EmulatedEngine | None = None
        self._registers: dict[int, int] = {}
        self._error = 0
        self.names: list[str] = []
        """Of what was downloaded."""

    def read(self, address: int) -> int:
        if self._engine is None:
            raise BoardError(f"nothing answers at {address:#x}")
        shape = self._shape
        fixed = {
            ENGINE + registers.ID: registers.ID_VALUE,
            ENGINE + registers.VERSION: registers.VERSION_VALUE,
            ENGINE + registers.SHAPE: shape.n | shape.rq << 8,
            ENGINE + registers.W_WORDS: shape.w_words,
            ENGINE + registers.P_D_WORDS: shape.p_words | shape.d_words << 16,
            ENGINE + registers.X_WORDS: shape.x_words,
            ENGINE + registers.A_B_WORDS: shape.a_words | shape.b_words << 16,
            ENGINE + registers.STATUS: registers.STATUS_IDLE | 2 * bool(self._error),
            ENGINE + registers.ERROR: self._error,
        }
        for place, offset in enumerate(registers.BUILD):
            fixed[ENGINE + offset] = int(self._build[8 * place : 8 * place + 8], 16)
        return fixed.get(address, self._registers.get(address, 0))

    def write(self, address: int, value: int) -> None:
        if address == DMA and value & 4:
            self._registers = {key: kept for key, kept in self._registers.items() if key >= ENGINE}
            return
        if address == ENGINE + registers.CONTROL:
            self._error = 0
            self._registers.pop(ENGINE + registers.MODEL, None)
            return
        self._registers[address] = value
        if address == DMA + 0x28:
            self._send(self._registers[DMA + 0x18], value)

    def allocate(self, beats: int) -> EmulatedBuffer:
        if self._engine is None:
            raise BoardError("no memory before a design is loaded")
        used = sum(each.nbytes for each in self._memory.values())
        if used + 8 * beats > self._cma_bytes:
            raise CapacityError(
                f"no contiguous memory for {8 * beats} bytes: {self._cma_bytes - used} of"
                f" {self._cma_bytes} are free"
            )
        last = max(self._memory, default=BASE)
        ahead = self._memory[last].nbytes if last in self._memory else 0
        return EmulatedBuffer(beats, last + -(-ahead // 4096) * 4096, self._memory)

    def cma_bytes(self) -> int | None:
        return self._cma_bytes

    def download(self, bit: bytes, hwh: bytes, name: str) -> None:
        self.names.append(name)
        self._engine = EmulatedEngine(self._shape)

    def loaded(self) -> str | None:
        return self.names[-1] if self.names else None

    def describe(self, bit: bytes, hwh: bytes, name: str) -> None:
        """It knows it."""

    def state(self) -> str | None:
        return "unknown" if self._engine is None else "operating"

    def _send(self, address: int, size: int) -> None:
        assert self._engine is not None
        try:
            answers = self._engine.send(self._memory[address][: size // 8].copy())
        except ProgramError:
            self._error = 1
            answers = []
        self._registers[DMA + 0x04] = 2
        if answers:
            found = np.concatenate(answers)
            self._memory[self._registers[DMA + 0x48]][: len(found)] = found
            self._registers[DMA + 0x58] = 8 * len(found)
            self._registers[DMA + 0x34] = 2
