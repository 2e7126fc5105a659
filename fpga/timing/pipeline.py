"""The lengths of the hardware's pipelines, in clocks (fpga/rtl)."""

from __future__ import annotations

from fpga.isa.shape import EngineShape

FIRST_TAP = 4  # from the clock in which RUN starts to the first tap of its first slot
HEADER_TO_START = 3  # from the clock in which RUN's header arrives, where nothing waits
SETTLES = 8  # from the last beat of a descriptor to the first check of RUN that may be granted
CHECK_TO_START = 1  # from the loader's check of RUN
BEAT_TO_LOADER = 1
WORD_TO_READ = 2  # from the clock in which the loader has the last beat of a word of X to a read
BLOCK_TO_READ = 3  # the same of streamed weights
ALL_ISSUED = 2  # from the last tap to when it is known that none is to come
RESIDUAL = 7  # more, with a residual
OUTPUT_WORDS = 32  # places in the output FIFO
ROOM_TOLD = 2  # from the clock in which a word leaves to the first that may use its place


def accumulated(shape: EngineShape) -> int:
    """From the issue of a tap to the accumulator that holds it."""
    return 7 if shape.n == 8 else 8


def written(shape: EngineShape, has_residual: bool) -> int:
    """From the issue of a word's last tap to the clock in which the word is written."""
    return accumulated(shape) + 7 + shape.groups + (RESIDUAL if has_residual else 0)
