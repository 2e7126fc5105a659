"""A compiled model without a board and without pynq: on the numpy emulator, or on the Verilated
engine behind its DMA, which counts clocks.

    trial = emulate(artifact, inputs)
    trial = simulate(artifact, inputs)          # needs Verilator and g++
    trial.outputs, trial.cycles_predicted, trial.cycles_simulated

Predicted is what the engine takes when the stream brings a beat in each clock; simulated is what it
took with the memory that fpga/simulation/board.py assumes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from fpga.artifact import Artifact
from fpga.board.designs import build_hash
from fpga.emulator import EmulatedEngine
from fpga.errors import BitstreamError, EngineError
from fpga.isa import registers
from fpga.simulation.board import Latencies, Logic
from fpga.timing import predict

Array = Any
OnSamples = Callable[[int], None]
BASE = 0x10000000
PAGE = 4096
STEP_CLOCKS = 200
SLACK = 100
"""A run is given up after so many times the clocks that were predicted."""
DMA, ENGINE = registers.DMA_BASE, registers.ENGINE_BASE
READ_ADDRESS, READ_LENGTH = DMA + 0x18, DMA + 0x28
WRITE_CONTROL, WRITE_STATUS = DMA + 0x30, DMA + 0x34
WRITE_ADDRESS, WRITE_LENGTH = DMA + 0x48, DMA + 0x58
RUN, RESET, IDLE, ERRORS = 1, 4, 2, 0x70


@dataclass(frozen=True, slots=True)
class Trial:
    """``runs``: packets that the samples were sent in; cycles: of all runs together;
    ``cycles_simulated``: None on the emulator, which has no clocks."""

    outputs: Array
    runs: int
    cycles_predicted: int
    cycles_simulated: int | None = None

    def samples_per_s(self, clock_mhz: float) -> float:
        """Within runs: without the time of driver and PS between them."""
        cycles = self.cycles_simulated or self.cycles_predicted
        return len(self.outputs) * clock_mhz * 1e6 / cycles


def emulate(artifact: Artifact, inputs: Array, on_samples: OnSamples = lambda done: None) -> Trial:
    """Real values [B, ...] to real values. Raises ProgramError for inputs of another shape."""
    engine = EmulatedEngine(artifact.shape)
    engine.send(artifact.load)
    found, sizes = [], []
    for payloads in _batches(artifact, inputs):
        (beats,) = engine.send(artifact.run_packet(payloads))
        found.append(beats.reshape(len(payloads), -1))
        sizes.append(len(payloads))
        on_samples(sum(sizes))
    outputs = artifact.dequantise(np.concatenate(found))
    return Trial(outputs, len(sizes), _predicted(artifact, sizes))


def simulate(
    artifact: Artifact,
    inputs: Array,
    *,
    latencies: Latencies | None = None,
    on_samples: OnSamples = lambda done: None,
) -> Trial:
    """As `emulate`. The first time, the engine is built: some ten seconds.

    Raises BitstreamError where the Verilog here is not that of the image, EngineError for what the
    engine or its DMA reports, ToolError without Verilator.
    """
    here = build_hash(artifact.shape)
    if artifact.build not in ("", here):
        raise BitstreamError(
            f"the image needs the engine {artifact.build[:12]}, and the Verilog here is"
            f" {here[:12]}: build the image anew, or simulate it with --engine emulator"
        )
    found, sizes, cycles = [], [], 0
    with _board(artifact, here, latencies or Latencies()) as board:
        board.send(artifact.load, 0, len(artifact.load))
        for payloads in _batches(artifact, inputs):
            size = len(payloads) * artifact.output_words * artifact.shape.word_beats
            beats = board.send(
                artifact.run_packet(payloads), size, _predicted(artifact, [len(payloads)])
            )
            cycles += board.cycles()
            found.append(beats.reshape(len(payloads), -1))
            sizes.append(len(payloads))
            on_samples(sum(sizes))
    outputs = artifact.dequantise(np.concatenate(found))
    return Trial(outputs, len(sizes), _predicted(artifact, sizes), cycles)


def _batches(artifact: Artifact, inputs: Array) -> Iterator[Array]:
    payloads = artifact.quantise(inputs)
    for at in range(0, len(payloads), artifact.max_batch):
        yield payloads[at : at + artifact.max_batch]


def _predicted(artifact: Artifact, sizes: list[int]) -> int:
    """Of runs of so many samples."""
    program, beats = artifact.program(), artifact.input_words * artifact.shape.word_beats
    clocks = {
        size: predict(
            artifact.shape, program, artifact.run_packet(np.zeros((size, beats), "<u8"))
        ).cycles
        for size in set(sizes)
    }
    return sum(clocks[size] for size in sizes)


@contextmanager
def _board(artifact: Artifact, build: str, latencies: Latencies) -> Iterator[_Board]:
    most = max(artifact.load.nbytes, artifact.run_bytes(artifact.max_batch))
    answers = 8 * artifact.max_batch * artifact.output_words * artifact.shape.word_beats
    board = _Board(artifact, build, latencies, _paged(most), _paged(answers))
    try:
        yield board
    finally:
        board.close()


def _paged(size: int) -> int:
    return -(-size // PAGE) * PAGE


class _Board:
    """Memory of two parts, for what goes out and what comes back."""

    def __init__(
        self, artifact: Artifact, build: str, latencies: Latencies, out: int, back: int
    ) -> None:
        self._out = out
        self._memory = np.zeros(out + back, np.uint8)
        self._logic = Logic(artifact.shape, build, self._memory, BASE)
        self._logic.set_latencies(latencies)
        for address, value in ((DMA, RESET), (DMA, RUN), (WRITE_CONTROL, RUN)):
            self._logic.write(address, value)

    def close(self) -> None:
        self._logic.close()

    def send(self, beats: Array, answer_beats: int, clocks: int) -> Array:
        """The answer's beats. Raises EngineError."""
        size = 8 * len(beats)
        self._memory[:size] = np.ascontiguousarray(beats, "<u8").view(np.uint8)
        if answer_beats:
            self._logic.write(WRITE_ADDRESS, BASE + self._out)
            self._logic.write(WRITE_LENGTH, 8 * answer_beats)
        self._logic.write(READ_ADDRESS, BASE)
        self._logic.write(READ_LENGTH, size)
        most = SLACK * (clocks + len(beats) + answer_beats)
        end = self._logic.clock + most
        while not self._is_done(bool(answer_beats)):
            if self._logic.clock > end:
                raise EngineError(f"the simulated engine gave no answer within {most} clocks")
            self._logic.run(STEP_CLOCKS)
        return self._memory[self._out : self._out + 8 * answer_beats].view("<u8").copy()

    def cycles(self) -> int:
        """Of the last run."""
        low, high = (
            self._logic.read(ENGINE + at) for at in (registers.CYCLES_LOW, registers.CYCLES_HIGH)
        )
        return high << 32 | low

    def _is_done(self, has_answer: bool) -> bool:
        sent = self._logic.read(DMA + 4)
        received = self._logic.read(WRITE_STATUS) if has_answer else IDLE
        if (sent | received) & ERRORS:
            raise EngineError(f"the simulated DMA reports {sent | received:#x}")
        if self._logic.read(ENGINE + registers.STATUS) & registers.STATUS_ERROR:
            code = self._logic.read(ENGINE + registers.ERROR) & 0xFF
            raise EngineError(
                f"the engine reports {registers.ERROR_TEXTS.get(code, 'an unknown error')}"
            )
        return bool(sent & IDLE and received & IDLE)
