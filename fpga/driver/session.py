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
from fpga.driver.packing import Packing
from fpga.driver.transfer import Dma
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
        sleep: Callable[[float], None] = time.sleep,
        lock: BoardLock | None = None,
        max_batch: int | None = None,
    ) -> None:
        self.artifact, self._bit, self._hwh, self._board = artifact, bit, hwh, board
        self._lock = lock or BoardLock(board.lock_name)
        self.max_batch = min(artifact.max_batch, max_batch or artifact.max_batch)
        self._packing = Packing(artifact)
        self._dma = Dma(board, clock, sleep)
        self._buffers: _Buffers | None = None
        self._is_sound = False
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
            if not self._is_design_there():
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
        if self._buffers is not None:
            self._buffers.free()
        self._buffers = None
        self._is_sound = False
        self._lock.release()

    def run(self, values: Array) -> Array:
        """Real values [B, *shape] to real values. B may be any number."""
        if len(values) == 0:
            nothing = np.zeros((1, self._packing.answer_beats), "<u8")
            return self.artifact.dequantise(nothing)[:0]
        payloads = self.artifact.quantise(values)
        return self.artifact.dequantise(self.run_beats(payloads))

    def run_beats(self, payloads: Array) -> Array:
        """INPUT payloads uint64 [B, beats] to the output's beats [B, beats]."""
        if self._buffers is None:
            raise BoardError("the board is not open")
        if len(payloads) == 0:
            return np.zeros((0, self._packing.answer_beats), "<u8")
        if len(payloads) <= self.max_batch:
            return self._run(payloads)
        starts = range(0, len(payloads), self.max_batch)
        return np.concatenate([self._run(payloads[at : at + self.max_batch]) for at in starts])

    def recover(self) -> None:
        """Reset and load; where that does not help, download again. Raises the last error."""
        self.recoveries += 1
        try:
            self._dma.reset_all()
            self._check_registers()
            self._load()
        except FpgaError:
            self._download()
            self._load()
        self._is_sound = True

    # Parts.

    def _run(self, payloads: Array) -> Array:
        if not self._is_sound:
            self.recover()
        assert self._buffers is not None
        out, samples = self._packing.fill(self._buffers.packet, payloads), len(payloads)
        size = samples * self._packing.answer_beats
        clocks = self.artifact.latency_cycles + self.artifact.interval_cycles * (samples - 1)
        self._transfer(out, self._buffers.back, size, clocks)
        self.samples += samples
        return self._buffers.answer[:size].copy().reshape(samples, -1)

    def _transfer(self, out: int, back: Buffer | None, size: int, clocks: float) -> None:
        assert self._buffers is not None
        whole = clocks + 4 * (out + size)  # and what memory takes
        deadline_s = LEAST_DEADLINE_S + SLACK * whole * self._board.seconds_per_clock
        # A simulated board's clock stands still while nobody asks.
        real_mhz = 0.0 if self._board.is_simulated else self.artifact.bitstream.clock_mhz
        try:
            self._dma.start(self._buffers.out, out, back, size, deadline_s)
            self._dma.finish(clocks / real_mhz / 1e6 if real_mhz else 0.0)
        except BaseException:
            self._is_sound = False
            raise

    def _check_image(self) -> None:
        artifact, bits, board = self.artifact, self.artifact.bitstream, self._board
        if bits.sha256 and hashlib.sha256(self._bit).hexdigest() != bits.sha256:
            raise BitstreamError("design.bit is not the one that the image was made with")
        bitfile.check(self._bit, board.name, board.idcode, board.is_simulated, bits.provenance)
        out, back = self._sizes()
        if 8 * max(out, back) > transfer.MOST_BYTES:
            raise CapacityError(f"packets of {8 * max(out, back)} bytes are too long for the DMA")
        there = board.cma_bytes()
        if there is not None and 8 * (out + back) > there:
            raise CapacityError(
                f"no contiguous memory for {artifact.name}: runs of {self.max_batch} samples take"
                f" {8 * (out + back):,} bytes, and the board has {there:,}: take a smaller"
                " max_batch, or boot with a larger cma="
            )

    def _sizes(self) -> tuple[int, int]:
        """Beats of the buffer that is sent, and of the one that answers come to."""
        out = max(len(self.artifact.load), self._packing.size(self.max_batch))
        return out, max(1, self.max_batch * self._packing.answer_beats)

    def _allocate(self) -> None:
        """Once, so that memory that is exhausted shows here and not under load."""
        self._buffers = _Buffers(self._board, *self._sizes(), self._packing.size(self.max_batch))

    def _is_design_there(self) -> bool:
        """No register is read unless it is known for certain what is loaded: where another design
        is, the read kills or hangs the process on a real board."""
        name = self._content_name()
        if self._board.loaded() != name:
            return False
        try:
            self._board.describe(self._bit, self._hwh, name)
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
                " this part?"
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
        assert self._buffers is not None
        if is_kept and is_idle and read(ENGINE + registers.MODEL) == number:
            self._dma.reset()
        else:
            self.loads += 1
            self._dma.reset_all()
            load = self.artifact.load
            self._buffers.whole[: len(load)] = load
            self._transfer(len(load), None, 0, len(load))
            self._board.write(ENGINE + registers.MODEL, number)
        self._packing.prepare(self._buffers.packet)


class _Buffers:
    """``out``, ``back``: for the DMA. ``whole``, ``packet``, ``answer``: plain arrays on them, as
    pynq's own take their time for each slice. Raises CapacityError, leaving nothing behind."""

    def __init__(self, board: Hardware, out: int, back: int, packet: int) -> None:
        self.out = board.allocate(out)
        try:
            self.back = board.allocate(back)
        except BaseException:
            self.out.free()
            raise
        self.whole = self.out.beats.view(np.ndarray)
        self.packet = self.whole[:packet]
        self.answer = self.back.beats.view(np.ndarray)

    def free(self) -> None:
        self.out.free()
        self.back.free()
        # What is left of the arrays must not reach memory that is someone else's now.
        self.whole = self.packet = self.answer = np.zeros(0, "<u8")
