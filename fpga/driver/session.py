"""An artifact on a board: opened with all its checks, run in batches, brought back after a fault.

with Session(artifact, bit, hwh, board) as session:
    answers = session.run(inputs)            # real values [B, ...] to real values [B, ...]
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from fpga.artifact import Artifact
from fpga.driver import bitfile, transfer
from fpga.driver.hardware import Buffer, Hardware
from fpga.driver.lock import BoardLock
from fpga.errors import BitstreamError, BoardError, CapacityError, FpgaError
from fpga.isa import registers

Array = Any
ENGINE = registers.ENGINE_BASE
LEAST_DEADLINE_S = 0.5
SLACK = 10.0
"""A deadline is so many times what is predicted, and LEAST_DEADLINE_S more."""


class Session:
    """One artifact on one board. Not for several threads at once.

    ``recoveries``: times that the board was reset and loaded again; ``downloads``: of the
    bitstream; ``loads``: of program and weights. Raises BitstreamError, CapacityError, BusyError,
    EngineError, DeadlineError.
    """

    def __init__(
        self,
        artifact: Artifact,
        bit: bytes,
        hwh: bytes,
        board: Hardware,
        *,
        clock: Callable[[], float] = time.monotonic,
        lock: BoardLock | None = None,
        max_batch: int | None = None,
    ) -> None:
        self.artifact, self._bit, self._hwh, self._board = artifact, bit, hwh, board
        self._clock = clock
        self._lock = lock or BoardLock(board.lock_name)
        self.max_batch = min(artifact.max_batch, max_batch or artifact.max_batch)
        self._out: Buffer | None = None
        self._back: Buffer | None = None
        self._is_sound = False
        self._is_loaded = False
        self.recoveries = 0
        self.downloads = 0
        self.loads = 0
        self.samples = 0

    def __repr__(self) -> str:
        state = "sound" if self._is_sound else "to be recovered"
        return f"Session({self.artifact.name!r} on {self._board.name}, {state})"

    def __enter__(self) -> Session:
        self.open()
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()

    @property
    def is_sound(self) -> bool:
        """Whether the last run, or the opening, went well."""
        return self._is_sound

    def open(self) -> None:
        """Lock, check, download where another design is loaded, load the model."""
        self._check_image()
        self._lock.acquire()
        try:
            if self._is_design_there():
                self._board.describe(self._bit, self._hwh, self._content_name())
            else:
                self._download()
            # Only now: pynq gives no memory before it knows a design.
            self._allocate()
            self._load(is_kept=True)
        except BaseException:
            self.close()
            raise
        self._is_sound = True

    def close(self) -> None:
        """The design stays loaded. Idempotent."""
        for buffer in (self._out, self._back):
            if buffer is not None:
                buffer.free()
        self._out = self._back = None
        self._is_sound = False
        self._lock.release()

    def run(self, values: Array) -> Array:
        """Real values [B, *shape] to real values. B may be any number."""
        if len(values) == 0:
            return self.artifact.dequantise(np.zeros((1, self._answer_beats), "<u8"))[:0]
        payloads = self.artifact.quantise(values)
        return self.artifact.dequantise(self.run_beats(payloads))

    def run_beats(self, payloads: Array) -> Array:
        """INPUT payloads uint64 [B, beats] to the output's beats [B, beats]."""
        if self._out is None:
            raise BoardError("the board is not open")
        if len(payloads) == 0:
            return np.zeros((0, self._answer_beats), "<u8")
        parts = []
        for at in range(0, len(payloads), self.max_batch):
            parts.append(self._run(payloads[at : at + self.max_batch]))
        return np.concatenate(parts)

    def recover(self) -> None:
        """Reset and load; where that does not help, download again. Raises the last error."""
        self.recoveries += 1
        try:
            transfer.reset(self._board)
            self._check_registers()
            self._load()
        except FpgaError:
            self._download()
            self._load()
        self._is_sound = True

    # Parts.

    @property
    def _answer_beats(self) -> int:
        return self.artifact.output_words * self.artifact.shape.word_beats

    def _run(self, payloads: Array) -> Array:
        if not self._is_sound:
            self.recover()
        packet = self.artifact.run_packet(payloads)
        assert self._out is not None
        assert self._back is not None
        self._out.beats[: len(packet)] = packet
        size = len(payloads) * self._answer_beats
        clocks = self.artifact.latency_cycles + self.artifact.interval_cycles * len(payloads)
        self._transfer(len(packet), self._back, size, clocks)
        self.samples += len(payloads)
        found = np.array(self._back.beats[:size], "<u8")
        return found.reshape(len(payloads), self._answer_beats)

    def _transfer(self, out: int, back: Buffer | None, size: int, clocks: float) -> None:
        assert self._out is not None
        whole = clocks + 4 * (out + size)  # and what memory takes
        deadline_s = LEAST_DEADLINE_S + SLACK * whole * self._board.seconds_per_clock
        try:
            transfer.transfer(
                self._board, self._out, 8 * out, back, 8 * size, deadline_s, self._clock
            )
        except BaseException:
            self._is_sound = False
            raise

    def _check_image(self) -> None:
        artifact, bits = self.artifact, self.artifact.bitstream
        if bits.sha256 and hashlib.sha256(self._bit).hexdigest() != bits.sha256:
            raise BitstreamError("design.bit is not the one that the image was made with")
        bitfile.check(self._bit, self._board.name, self._board.is_simulated, bits.provenance)
        longest = max(len(artifact.load), self._packet_beats(self.max_batch))
        if 8 * longest > transfer.MOST_BYTES:
            raise CapacityError(f"packets of {8 * longest} bytes are too long for the DMA")

    def _packet_beats(self, samples: int) -> int:
        each = 1 + self.artifact.input_words * self.artifact.shape.word_beats
        return 1 + samples * (each + len(self.artifact.stream))

    def _allocate(self) -> None:
        """Once, so that memory that is exhausted shows here and not under load."""
        beats = max(len(self.artifact.load), self._packet_beats(self.max_batch))
        self._out = self._board.allocate(beats)
        self._back = self._board.allocate(max(1, self.max_batch * self._answer_beats))

    def _is_design_there(self) -> bool:
        if self._board.state() not in (None, "operating"):
            return False
        try:
            self._check_registers()
        except FpgaError:
            return False
        return True

    def _download(self) -> None:
        """Under a name of its content: pynq never sends a file again whose name is there."""
        self.downloads += 1
        self._board.download(self._bit, self._hwh, self._content_name())
        state = self._board.state()
        if state not in (None, "operating"):
            raise BitstreamError(
                f"the board did not take the bitstream: its FPGA manager says {state!r}; is it for"
                " this"
                " part?"
            )
        self._check_registers()

    def _content_name(self) -> str:
        return "inferry_" + hashlib.sha256(self._bit + self._hwh).hexdigest()[:24]

    def _check_registers(self) -> None:
        """The hardware is the one that the artifact was compiled for."""
        read, shape = self._board.read, self.artifact.shape
        try:
            found = read(ENGINE + registers.ID)
        except BoardError as error:
            raise BitstreamError(f"no engine answers: {error}") from None
        if found != registers.ID_VALUE:
            raise BitstreamError(f"no engine answers: the ID register says {found:#x}")
        if read(ENGINE + registers.VERSION) != registers.VERSION_VALUE:
            raise BitstreamError("the engine is of another version than this driver")
        sizes = (
            (registers.SHAPE, shape.n | shape.rq << 8),
            (registers.W_WORDS, shape.w_words),
            (registers.P_D_WORDS, shape.p_words | shape.d_words << 16),
            (registers.X_WORDS, shape.x_words),
            (registers.A_B_WORDS, shape.a_words | shape.b_words << 16),
        )
        if any(read(ENGINE + offset) != value for offset, value in sizes):
            raise BitstreamError("the engine has another shape than the image needs")
        build = "".join(f"{read(ENGINE + offset):08x}" for offset in registers.BUILD)
        if self.artifact.build and build != self.artifact.build:
            raise BitstreamError(
                f"the engine's build is {build[:12]}, and the image needs"
                f" {self.artifact.build[:12]}: an old bitstream is"
                " loaded"
            )

    def _load(self, *, is_kept: bool = False) -> None:
        """Program and weights. ``is_kept``: not when an idle engine says that it has them."""
        number, read = self.artifact.model_number(), self._board.read
        is_idle = read(ENGINE + registers.STATUS) == registers.STATUS_IDLE
        if is_kept and is_idle and read(ENGINE + registers.MODEL) == number:
            transfer.reset_dma(self._board)
            return
        self.loads += 1
        transfer.reset(self._board)
        assert self._out is not None
        load = self.artifact.load
        self._out.beats[: len(load)] = load
        self._transfer(len(load), None, 0, len(load))
        self._board.write(ENGINE + registers.MODEL, number)
