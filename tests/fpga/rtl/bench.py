"""The Verilated engine alone: packets in, packets out, registers."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fpga.isa import registers
from fpga.isa.shape import EngineShape
from fpga.simulation.library import build
from fpga.synthesis.sources import RTL, engine_sources, parameters

Array = Any
ROOM = 1 << 20
ECP5_CELLS = Path(__file__).with_name("ecp5_cells.v")


def engine_library(shape: EngineShape, pack: int, ecp5: bool = False) -> Path:
    """The engine of a shape in C, for this machine. ecp5: with models of an ECP5's hard blocks."""
    settings = parameters(shape, bool(pack))
    verilog = engine_sources(ecp5) + ([ECP5_CELLS] if ecp5 else [])
    return build("engine", RTL / "bench.cpp", settings, verilog=verilog)


@dataclass(frozen=True)
class Output:
    """Beats that came out, TLAST of each, the clock of each (0: the first clock of the call)."""

    beats: Array
    lasts: Array
    times: Array
    taken: int

    def packets(self) -> list[Array]:
        ends = np.flatnonzero(self.lasts) + 1
        return np.split(self.beats, ends)[:-1] if len(ends) else []


class Bench:
    """An engine after power-up. Close it."""

    def __init__(self, shape: EngineShape, pack: int = 1, ecp5: bool = False) -> None:
        self.shape = shape
        self._lib = ctypes.CDLL(str(engine_library(shape, pack, ecp5)))
        u64, pointer = ctypes.c_uint64, ctypes.c_void_p
        self._lib.bench_new.restype = pointer
        self._lib.bench_free.argtypes = [pointer]
        self._lib.bench_run.argtypes = [pointer, u64]
        self._lib.bench_write.argtypes = [pointer, ctypes.c_uint32, ctypes.c_uint32]
        self._lib.bench_read.argtypes = [pointer, ctypes.c_uint32]
        self._lib.bench_read.restype = ctypes.c_uint32
        self._lib.bench_stream.restype = u64
        self._lib.bench_stream.argtypes = [
            pointer,
            pointer,
            pointer,
            pointer,
            u64,
            ctypes.c_uint,
            pointer,
            pointer,
            pointer,
            u64,
            ctypes.c_uint,
            u64,
            u64,
            u64,
            ctypes.POINTER(u64),
        ]
        self._bench = self._lib.bench_new()
        self._room = (
            np.zeros(ROOM, np.uint64),
            np.zeros(ROOM, np.uint8),
            np.zeros(ROOM, np.uint64),
        )

    def close(self) -> None:
        self._lib.bench_free(self._bench)

    def __enter__(self) -> Bench:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def run(self, clocks: int) -> None:
        self._lib.bench_run(self._bench, clocks)

    def read(self, register: int) -> int:
        return int(self._lib.bench_read(self._bench, register))

    def write(self, register: int, value: int) -> None:
        self._lib.bench_write(self._bench, register, value)

    def wait_idle(self, clocks: int = 200_000) -> None:
        """Until nothing runs: slots can follow the last output beat."""
        for _ in range(clocks // 50):
            if self.read(registers.STATUS) == registers.STATUS_IDLE:
                return
            self.run(50)
        raise AssertionError("the engine does not become idle")

    def send(
        self,
        beats: Array,
        packets: int = 0,
        *,
        lasts: Array | None = None,
        times: Array | None = None,
        in_rate: int = 256,
        out_rate: int = 256,
        limit: int = 10_000_000,
        seed: int = 1,
    ) -> Output:
        """Sends one packet (or several, where `lasts` has their ends) and waits for `packets` back.

        times: the clock from which each beat is offered. Rates of 256: no stalls.
        """
        beats = np.ascontiguousarray(beats, np.uint64)
        if lasts is None:
            lasts = np.zeros(len(beats), np.uint8)
            lasts[-1:] = 1
        lasts = np.ascontiguousarray(lasts, np.uint8)
        offered = None if times is None else np.ascontiguousarray(times, np.uint64)
        taken = ctypes.c_uint64()
        out, out_lasts, out_times = self._room
        got = self._lib.bench_stream(
            self._bench,
            beats.ctypes.data,
            lasts.ctypes.data,
            None if offered is None else offered.ctypes.data,
            len(beats),
            in_rate,
            out.ctypes.data,
            out_lasts.ctypes.data,
            out_times.ctypes.data,
            ROOM,
            out_rate,
            packets,
            limit,
            seed,
            ctypes.byref(taken),
        )
        return Output(out[:got].copy(), out_lasts[:got].copy(), out_times[:got].copy(), taken.value)
