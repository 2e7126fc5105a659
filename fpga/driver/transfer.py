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
RESET_S = 0.2
"""The DMA drains what memory owes it before its reset ends: microseconds, where memory answers."""
LEAST_REST_S = 1e-3
"""Below it, waking up takes longer than asking."""
_SAID = {0x10: "an internal error", 0x20: "a slave error", 0x40: "a decode error"}


class Dma:
    """The DMA of a board. `start` and `finish` make a transfer; only one is under way at a time."""

    def __init__(
        self, board: Hardware, clock: Callable[[], float], sleep: Callable[[float], None]
    ) -> None:
        self._board, self._clock, self._sleep = board, clock, sleep
        self._addresses: dict[int, int] = {}
        self._back: Buffer | None = None
        self._back_beats = 0
        self._end = 0.0
        self._deadline_s = 0.0

    def reset_all(self) -> None:
        """And the engine. Whatever was under way is gone."""
        self.reset()
        self._board.write(ENGINE + registers.CONTROL, registers.CONTROL_RESET)

    def reset(self) -> None:
        """Both ways, and begun anew; the engine keeps its program. Raises EngineError where the
        DMA does not end it."""
        board = self._board
        self._addresses.clear()
        board.write(READ + CONTROL, RESET)
        end = self._clock() + RESET_S
        while board.read(READ + CONTROL) & RESET:
            if self._clock() > end:
                raise EngineError("the DMA does not end its reset: load the bitstream again")
        for channel in (READ, WRITE):
            board.write(channel + CONTROL, RUN)

    def start(
        self,
        out: Buffer,
        out_beats: int,
        back: Buffer | None,
        back_beats: int,
        deadline_s: float,
    ) -> None:
        """Send a packet. ``back``: for its answer, which must be exactly ``back_beats`` long."""
        if 8 * max(out_beats, back_beats) > MOST_BYTES:
            raise EngineError(f"a packet of more than {MOST_BYTES} bytes")
        self._back, self._back_beats, self._deadline_s = back, back_beats, deadline_s
        out.flush(out_beats)
        if back is not None:
            self._arm(WRITE, back.address, 8 * back_beats)
        self._arm(READ, out.address, 8 * out_beats)
        self._end = self._clock() + deadline_s

    def finish(self, rest_s: float = 0.0) -> None:
        """Wait until the packet is taken, and its answer is there. ``rest_s``: it cannot be done
        sooner, so that the processor may do something else meanwhile.

        Raises EngineError for what DMA or engine report, DeadlineError when it takes longer.
        """
        board, back = self._board, self._back
        if rest_s > LEAST_REST_S:
            self._sleep(rest_s)
        if back is not None:
            self._wait(WRITE, READ)
        self._wait(READ, None)
        if back is None:
            self._wait_for_engine()
            return
        self._check_engine()
        received = board.read(WRITE + LENGTH)
        if received != 8 * self._back_beats:
            raise EngineError(
                f"an answer of {received} bytes, where {8 * self._back_beats} were to come"
            )
        back.invalidate(self._back_beats)

    def _arm(self, channel: int, address: int, size: int) -> None:
        """The address stays in its register from one transfer to the next."""
        write = self._board.write
        if self._addresses.get(channel) != address:
            write(channel + ADDRESS, address & 0xFFFFFFFF)
            write(channel + ADDRESS_HIGH, address >> 32)
            self._addresses[channel] = address
        write(channel + LENGTH, size)

    def _wait(self, channel: int, other: int | None) -> None:
        """For one way; an error of the other ends it too."""
        read = self._board.read
        while True:
            status = read(channel + STATUS)
            if status & (IDLE | ERRORS) == IDLE:
                return
            if other is not None and not status & ERRORS:
                status |= read(other + STATUS) & ERRORS
            if status & ERRORS:
                raise EngineError(f"the DMA reports {_dma_said(status)}")
            if self._clock() > self._end:
                self._give_up()

    def _wait_for_engine(self) -> None:
        """The DMA is done when its last beat is taken, and the engine a few clocks later."""
        while self._check_engine() & registers.STATUS_READING:
            if self._clock() > self._end:
                self._give_up()

    def _give_up(self) -> None:
        self._check_engine()
        sent, received = self._board.read(READ + STATUS), self._board.read(WRITE + STATUS)
        raise DeadlineError(
            f"no answer from the board in {self._deadline_s:.2f} s (DMA {sent:#x}, {received:#x}):"
            " it is reset"
        )

    def _check_engine(self) -> int:
        status = self._board.read(ENGINE + registers.STATUS)
        if status & registers.STATUS_ERROR:
            found = self._board.read(ENGINE + registers.ERROR)
            said = registers.ERROR_TEXTS.get(found & 0xFF, "an unknown error")
            raise EngineError(f"the engine reports {said} (command {found >> 8})")
        return status


def _dma_said(status: int) -> str:
    return " and ".join(text for bit, text in _SAID.items() if status & bit)
