"""Runs packets as the engine does, in numpy, bit for bit, without clocks.

    arithmetic   requantise and add, in integers as the hardware has them
    layer        one descriptor on one sample
    engine       memories, loader and sequencer; finds programs that would hang or race

It is the reference that the RTL is tested against and a board for whoever has none.
"""

from fpga.emulator.engine import EmulatedEngine

__all__ = ["EmulatedEngine"]
