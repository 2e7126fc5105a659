"""The lengths of the hardware's pipelines, in clocks (fpga/rtl)."""

from __future__ import annotations

from fpga.isa.shape import EngineShape

FIRST_TAP = 5  # from the clock in which RUN starts to the first tap of its first slot
HEADER_TO_START = 3  # from the clock in which RUN's header arrives, where nothing waits
CHECK_TO_START = 1  # from the loader's check of RUN
BEAT_TO_LOADER = 1
WORD_TO_READ = 2  # from the clock in which the loader has a word's last beat to a read of it
RESIDUAL = 7  # more, with a residual
OUTPUT_WORDS = 32  # places in the output FIFO
ROOM_TOLD = 2  # from the clock in which a word leaves to the first that may use its place


def accumulated(shape: EngineShape) -> int:
    """From the issue of a tap to the accumulator that holds it."""
    return 6 if shape.n == 8 else 7


def written(shape: EngineShape, has_residual: bool) -> int:
    """From the issue of a word's last tap to the clock in which the word is written."""
    return accumulated(shape) + 7 + shape.groups + (RESIDUAL if has_residual else 0)
