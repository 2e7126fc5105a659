"""When the loader takes what: commands one after another, each beat at the earliest a clock after
the one before and a clock after it arrived."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from fpga.errors import ProgramError
from fpga.isa import packet
from fpga.isa.shape import EngineShape
from fpga.timing.pipeline import (
    BEAT_TO_LOADER,
    BLOCK_TO_READ,
    CHECK_TO_START,
    SETTLES,
    WORD_TO_READ,
)

Array = Any


@dataclass
class Stream:
    """The commands of a packet and how far the loader is with them.

    arrivals: the clock from which each beat is offered. `released` and `used` are what the slots
    tell: the clocks of the last reads of a sample's X, and of a streamed slot.
    """

    shape: EngineShape
    commands: Sequence[packet.Command]
    arrivals: Array
    released: list[int] = field(default_factory=list)
    used: list[int] = field(default_factory=list)
    inputs: list[tuple[int, Array]] = field(default_factory=list)  # first word, when readable
    blocks: list[int] = field(default_factory=list)  # when a slot may begin with it
    _at: int = 0
    _beat: int = 0
    _free: int = 0
    _settled: int = 0

    def start(self, idle_from: int) -> tuple[int, int]:
        """(clock, samples) of the next RUN, which waits for the engine to be idle. Commands that
        only load are passed."""
        self.released, self.used, self.inputs, self.blocks = [], [], [], []
        while True:
            command = self._next()
            check = self._header()
            if command.op in (packet.INPUT, packet.WSTREAM):
                raise ProgramError("an input or streamed weights without a run")
            check = max(check, idle_from)
            if command.op == packet.RUN:
                check = max(check, self._settled)
                self._free = check + 1
                return check + CHECK_TO_START, command.samples
            taken = self._payload(command, check)
            if command.op == packet.DESC:
                self._settled = int(taken[-1]) + SETTLES

    def has_run(self) -> bool:
        """Is there another RUN?"""
        return any(command.op == packet.RUN for command in self.commands[self._at :])

    def input(self, sample: int) -> tuple[int, Array]:
        """(first word within the half, from which clock on each word can be read)."""
        while len(self.inputs) <= sample:
            self._advance()
        return self.inputs[sample]

    def block(self, number: int) -> int:
        """From which clock on a slot may begin with that block of streamed weights."""
        while len(self.blocks) <= number:
            self._advance()
        return self.blocks[number]

    def _advance(self) -> None:
        command = self._next()
        if command.op == packet.INPUT:
            self._take(command, self.released, len(self.inputs), self.shape.word_beats)
        elif command.op == packet.WSTREAM:
            self._take(command, self.used, len(self.blocks), self.shape.weight_beats)
        else:
            raise ProgramError("the packet lacks an input or streamed weights")

    def _take(self, command: packet.Command, freed: list[int], number: int, unit: int) -> None:
        """Two may be there; the third waits for the first to go."""
        if number >= 2 and len(freed) <= number - 2:
            raise ProgramError("the program waits for what the packet brings too late")
        check = self._header()
        if number >= 2:
            check = max(check, freed[number - 2] + 1)
        taken = self._payload(command, check)
        if command.op == packet.INPUT:
            self.inputs.append((command.address, taken[unit - 1 :: unit] + WORD_TO_READ))
        else:
            self.blocks.append(int(taken[-1]) + BLOCK_TO_READ)

    def _next(self) -> packet.Command:
        if self._at == len(self.commands):
            raise ProgramError("the packet lacks an input or streamed weights")
        return self.commands[self._at]

    def _header(self) -> int:
        """The clock in which the next header is checked, where it waits for nothing."""
        self._at += 1
        self._beat += 1
        return max(self._free, int(self.arrivals[self._beat - 1]) + BEAT_TO_LOADER) + 1

    def _payload(self, command: packet.Command, check: int) -> Array:
        """The clock in which each beat is taken."""
        count = len(command.payload)
        order = np.arange(count)
        arrived = self.arrivals[self._beat : self._beat + count] + BEAT_TO_LOADER
        taken = np.maximum.accumulate(np.maximum(arrived, check + 1) - order) + order
        self._beat += count
        self._free = int(taken[-1]) + 1
        return taken
