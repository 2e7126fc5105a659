"""A few lines of driver: packets to a Verilated board through its DMA, and answers back."""

from __future__ import annotations

from typing import Any

import numpy as np

from fpga.isa import registers
from fpga.isa.shape import EngineShape
from fpga.simulation.board import Latencies, Logic

Array = Any
BASE = 0x10000000
HALF = 8 << 20
BUILD = "0" * 32


class Driven:
    """One board. ``latencies``: memory that answers at once by default, so that the stream brings a
    beat in each clock, as predictions assume."""

    def __init__(self, shape: EngineShape, latencies: Latencies | None = None) -> None:
        self._memory = np.zeros(2 * HALF, np.uint8)
        self.logic = Logic(shape, BUILD, self._memory, BASE)
        self.logic.set_latencies(latencies or Latencies(1, 0, 0))
        dma = registers.DMA_BASE
        self._write(dma, 4)
        self._write(dma, 1)
        self._write(dma + 0x30, 1)

    def close(self) -> None:
        self.logic.close()

    def send(self, beats: Array, answer_bytes: int) -> Array:
        """The answer's beats. Raises RuntimeError where it does not come."""
        data = np.ascontiguousarray(beats, "<u8").view(np.uint8)
        self._memory[: len(data)] = data
        dma = registers.DMA_BASE
        if answer_bytes:
            self._write(dma + 0x48, BASE + HALF)
            self._write(dma + 0x58, answer_bytes)
        self._write(dma + 0x18, BASE)
        self._write(dma + 0x28, len(data))
        for _ in range(1_000_000):
            if self._is_done(bool(answer_bytes)):
                return self._memory[HALF : HALF + answer_bytes].view("<u8").copy()
            self.logic.run(200)
        raise RuntimeError("the board does not answer")

    def register(self, offset: int) -> int:
        return self.logic.read(registers.ENGINE_BASE + offset)

    def _is_done(self, has_answer: bool) -> bool:
        status = self.logic.read(registers.DMA_BASE + 4)
        back = self.logic.read(registers.DMA_BASE + 0x34)
        if (status | back) & 0x70:
            raise RuntimeError(f"the DMA says {status:#x}, {back:#x}")
        return bool(status & 2 and (not has_answer or back & 2))

    def _write(self, address: int, value: int) -> None:
        self.logic.write(address, value)
