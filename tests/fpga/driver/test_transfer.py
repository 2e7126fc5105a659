"""The DMA's registers: as few as needed, and no waiting without an end."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from fpga.driver.transfer import Dma
from fpga.errors import DeadlineError, EngineError
from fpga.isa import registers

DMA, ENGINE = registers.DMA_BASE, registers.ENGINE_BASE


class Memory:
    """A buffer that notes what is made of it."""

    def __init__(self, address: int) -> None:
        self.beats, self.address = np.zeros(16, "<u8"), address
        self.calls: list[tuple[str, int]] = []

    def flush(self, beats: int) -> None:
        self.calls.append(("flush", beats))

    def invalidate(self, beats: int) -> None:
        self.calls.append(("invalidate", beats))

    def free(self) -> None:
        pass


class Registers:
    """A board of registers that answer as they are told; all is done at once otherwise."""

    name, is_simulated, seconds_per_clock, lock_name = "x", True, 1e-8, "x"
    idcode: int | None = None

    def __init__(self) -> None:
        self.fixed: dict[int, Iterator[int]] = {}
        self.answers = {DMA + 4: 2, DMA + 0x34: 2, ENGINE + registers.STATUS: 1}
        self.written: list[tuple[int, int]] = []
        self.reads: list[int] = []

    def read(self, address: int) -> int:
        self.reads.append(address)
        return next(self.fixed[address]) if address in self.fixed else self.answers.get(address, 0)

    def write(self, address: int, value: int) -> None:
        self.written.append((address, value))
        if address == DMA + 0x58:
            self.answers[address] = value

    def allocate(self, beats: int) -> Memory:
        return Memory(0)

    def cma_bytes(self) -> int | None:
        return None

    def download(self, bit: bytes, hwh: bytes, name: str) -> None: ...

    def loaded(self) -> str | None:
        return None

    def describe(self, bit: bytes, hwh: bytes, name: str) -> None: ...

    def state(self) -> str | None:
        return None


def ticking() -> Iterator[float]:
    now = 0.0
    while True:
        now += 0.01
        yield now


@pytest.fixture
def board() -> Registers:
    return Registers()


@pytest.fixture
def dma(board: Registers) -> Dma:
    clock = ticking()
    return Dma(board, lambda: next(clock), lambda _: None)


def test_a_second_run_writes_two_registers_and_reads_four(board: Registers, dma: Dma) -> None:
    out, back = Memory(0x1_2000_0000), Memory(0x3000_0000)
    dma.start(out, 9, back, 4, 1.0)
    dma.finish()
    assert board.written == [
        (DMA + 0x48, 0x3000_0000), (DMA + 0x4C, 0), (DMA + 0x58, 32),  # the receiving side first
        (DMA + 0x18, 0x2000_0000), (DMA + 0x1C, 1), (DMA + 0x28, 72),
    ]  # fmt: skip
    board.written.clear()
    board.reads.clear()
    dma.start(out, 9, back, 2, 1.0)
    dma.finish()
    assert board.written == [(DMA + 0x58, 16), (DMA + 0x28, 72)]
    assert len(board.reads) == 4
    assert (out.calls, back.calls) == ([("flush", 9)] * 2, [("invalidate", 4), ("invalidate", 2)])


def test_addresses_are_written_anew_after_a_reset(board: Registers, dma: Dma) -> None:
    out = Memory(0x1000)
    for _ in range(2):
        dma.reset()
        board.written.clear()
        dma.start(out, 1, None, 0, 1.0)
        dma.finish()
        assert (DMA + 0x18, 0x1000) in board.written


def test_a_reset_is_waited_for(board: Registers, dma: Dma) -> None:
    board.fixed[DMA] = iter([4, 4, 4, 0])
    dma.reset_all()
    assert board.reads.count(DMA) == 4
    assert board.written[-1] == (ENGINE + registers.CONTROL, registers.CONTROL_RESET)


def test_a_reset_that_does_not_end_is_an_error_soon(board: Registers, dma: Dma) -> None:
    board.answers[DMA] = 4
    with pytest.raises(EngineError, match="does not end its reset"):
        dma.reset()
    assert len(board.reads) < 50


@pytest.mark.parametrize(("register", "said"), [(0x04, "a decode error"), (0x34, "a decode error")])
def test_an_error_of_either_way_ends_the_waiting(
    board: Registers, dma: Dma, register: int, said: str
) -> None:
    board.answers[DMA + 0x34] = 0
    board.answers[DMA + register] = 0x40
    dma.start(Memory(0), 1, Memory(0), 1, 60.0)
    with pytest.raises(EngineError, match=said):
        dma.finish()
    assert len(board.reads) < 10


@pytest.mark.parametrize("register", [DMA + 0x34, DMA + 0x04])
def test_what_never_ends_is_a_deadline(board: Registers, dma: Dma, register: int) -> None:
    board.answers[register] = 0
    dma.start(Memory(0), 1, Memory(0), 1, 0.3)
    with pytest.raises(DeadlineError, match=r"no answer from the board in 0\.30 s"):
        dma.finish()


def test_a_program_is_waited_for_until_the_engine_has_read_it(board: Registers, dma: Dma) -> None:
    board.fixed[ENGINE + registers.STATUS] = iter([4, 4, 1])
    dma.start(Memory(0), 5, None, 0, 1.0)
    dma.finish()
    board.fixed[ENGINE + registers.STATUS] = iter([4, 2])
    board.answers[ENGINE + registers.ERROR] = 4 | 7 << 8
    dma.start(Memory(0), 5, None, 0, 1.0)
    with pytest.raises(EngineError, match=r"leaves its memory \(command 7\)"):
        dma.finish()


def test_a_program_that_the_engine_never_ends_reading_is_a_deadline(
    board: Registers, dma: Dma
) -> None:
    board.answers[ENGINE + registers.STATUS] = 4
    dma.start(Memory(0), 5, None, 0, 0.2)
    with pytest.raises(DeadlineError):
        dma.finish()


def test_an_answer_of_another_length_is_an_error(board: Registers, dma: Dma) -> None:
    board.fixed[DMA + 0x58] = iter([24])
    dma.start(Memory(0), 1, Memory(0), 4, 1.0)
    with pytest.raises(EngineError, match="24 bytes, where 32"):
        dma.finish()


def test_packets_that_the_dma_cannot_count_are_refused_before_it_starts(
    board: Registers, dma: Dma
) -> None:
    with pytest.raises(EngineError, match="a packet of more than"):
        dma.start(Memory(0), 1 << 23, None, 0, 1.0)
    assert board.written == []


def test_what_takes_long_is_slept_through_and_what_does_not_is_not(board: Registers) -> None:
    slept: list[float] = []
    clock = ticking()
    dma = Dma(board, lambda: next(clock), slept.append)
    for rest_s in (0.0, 0.0005, 0.2):
        dma.start(Memory(0), 1, Memory(0), 1, 1.0)
        dma.finish(rest_s)
    assert slept == [0.2]
