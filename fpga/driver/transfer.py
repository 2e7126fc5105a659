"""Packets through the DMA: the receiving side is armed first, lengths are checked, waiting ends."""

from __future__ import annotations

from collections.abc import Callable

from fpga.driver.hardware import Buffer, Hardware
from fpga.errors import DeadlineError, EngineError
from fpga.isa import registers

DMA, ENGINE = registers.DMA_BASE, registers.ENGINE_BASE
CONTROL, STATUS, ADDRESS, ADDRESS_HIGH, LENGTH = 0x00, 0x04, 0x18, 0x1C, 0x28
READ, WRITE = DMA, DMA + 0x30
RUN, RESET = 1, 4
IDLE, ERRORS = 2, 0x70
MOST_BYTES = (1 << 26) - 8
_SAID = {0x10: "an internal error", 0x20: "a slave error", 0x40: "a decode error"}


def reset(board: Hardware) -> None:
    """The DMA, both ways, and the engine. Whatever was under way is gone."""
    reset_dma(board)
    board.write(ENGINE + registers.CONTROL, registers.CONTROL_RESET)


def reset_dma(board: Hardware) -> None:
    """Both ways, and begun anew; the engine keeps its program."""
    board.write(READ + CONTROL, RESET)
    for _ in range(1000):
        if not board.read(READ + CONTROL) & RESET:
            break
    else:
        raise EngineError("the DMA does not end its reset: load the bitstream again")
    for channel in (READ, WRITE):
        board.write(channel + CONTROL, RUN)


def transfer(
    board: Hardware,
    out: Buffer,
    out_bytes: int,
    back: Buffer | None,
    back_bytes: int,
    deadline_s: float,
    clock: Callable[[], float],
) -> None:
    """Send a packet, and wait for its answer, which must be exactly ``back_bytes`` long.

    Raises EngineError for what DMA or engine report, DeadlineError when it takes longer.
    """
    if max(out_bytes, back_bytes) > MOST_BYTES:
        raise EngineError(f"a packet of more than {MOST_BYTES} bytes")
    out.flush()
    if back is not None:
        _start(board, WRITE, back.address, back_bytes)
    _start(board, READ, out.address, out_bytes)
    _wait(board, back is not None, clock, clock() + deadline_s, deadline_s)
    if back is not None:
        received = board.read(WRITE + LENGTH)
        if received != back_bytes:
            raise EngineError(f"an answer of {received} bytes, where {back_bytes} were to come")
        back.invalidate()


def _start(board: Hardware, channel: int, address: int, size: int) -> None:
    board.write(channel + ADDRESS, address & 0xFFFFFFFF)
    board.write(channel + ADDRESS_HIGH, address >> 32)
    board.write(channel + LENGTH, size)


def _wait(
    board: Hardware, has_answer: bool, clock: Callable[[], float], end: float, deadline_s: float
) -> None:
    while True:
        sent = board.read(READ + STATUS)
        received = board.read(WRITE + STATUS) if has_answer else IDLE
        if (sent | received) & ERRORS:
            raise EngineError(f"the DMA reports {_dma_said(sent | received)}")
        if sent & IDLE and received & IDLE:
            _check_engine(board)
            return
        if clock() > end:
            _check_engine(board)
            raise DeadlineError(
                f"no answer from the board in {deadline_s:.2f} s (DMA {sent:#x}, {received:#x}): it"
                " is reset"
            )


def _check_engine(board: Hardware) -> None:
    if board.read(ENGINE + registers.STATUS) & registers.STATUS_ERROR:
        found = board.read(ENGINE + registers.ERROR)
        said = registers.ERROR_TEXTS.get(found & 0xFF, "an unknown error")
        raise EngineError(f"the engine reports {said} (command {found >> 8})")


def _dma_said(status: int) -> str:
    return " and ".join(text for bit, text in _SAID.items() if status & bit)
