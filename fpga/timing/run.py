"""A run, slot after slot: when it begins, when it is complete, when its results are out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fpga.errors import ProgramError
from fpga.isa import packet
from fpga.isa.descriptor import Descriptor
from fpga.isa.shape import BANK_OUT, BANK_X, EngineShape
from fpga.timing.output import Output
from fpga.timing.pipeline import ALL_ISSUED, FIRST_TAP, HEADER_TO_START, written
from fpga.timing.stream import Stream
from fpga.timing.walk import Walk, source_words, walk, walk_by_word

Array = Any


@dataclass(frozen=True)
class Slot:
    """A layer on a sample: clocks of its first and last tap, and from which on its results can be
    read. Clock 0 is the one in which the first beat of the packet arrives."""

    layer: int
    sample: int
    first: int
    last: int
    complete: int


@dataclass(frozen=True)
class Prediction:
    """What CYCLES and ARRAY_CYCLES will say of the packet's last RUN.

    ends: the clock of the last output beat (without output: of the run's end).
    """

    cycles: int
    array_cycles: int
    ends: int
    slots: tuple[Slot, ...]


def predict(
    shape: EngineShape, program: Sequence[Descriptor], beats: Array, arrivals: Array | None = None
) -> Prediction:
    """The clocks of the last RUN in a packet, sent to an idle engine that has `program` loaded.

    arrivals: the clock in which the source offers each beat, the first in clock 0; None: all
    without a pause. Whoever receives takes each beat at once. Raises ProgramError for a packet or
    a program that would hang.
    """
    commands = packet.parse(beats, shape)
    if arrivals is None:
        arrivals = np.arange(len(beats), dtype=np.int64)
    else:
        order = np.arange(len(beats), dtype=np.int64)
        arrivals = np.maximum.accumulate(np.asarray(arrivals, np.int64) - order) + order
    stream = Stream(shape, commands, arrivals)
    idle_from = 0
    while True:
        run = _Run(shape, program, stream, idle_from)
        prediction = run.predict()
        if not stream.has_run():
            return prediction
        idle_from = run.idle_from


class _Run:
    def __init__(
        self, shape: EngineShape, program: Sequence[Descriptor], stream: Stream, idle_from: int
    ) -> None:
        self.shape, self.program, self.stream = shape, program, stream
        self.start, self.samples = stream.start(idle_from)
        self.gone = self.start + FIRST_TAP - 1  # the clock in which the slot before went
        self.busy = 0  # from which clock on the requantisers take a word
        self.has_residual = False
        self.complete: list[int] = []  # of all slots, skipped ones too
        self.slots: list[Slot] = []
        self.array_cycles = 0
        self.blocks = 0
        self.output = Output(shape.word_beats)
        self.idle_from = 0

    def predict(self) -> Prediction:
        depth = 1 + max(layer.stage for layer in self.program)
        for turn in range(self.samples + depth - 1):
            for number, layer in enumerate(self.program):
                sample = turn - layer.stage
                if 0 <= sample < self.samples:
                    self._compute(number, layer, sample)
                else:
                    self.gone += 1
                    self.complete.append(self.complete[-1] if self.complete else 0)
        ends = self.output.last_beat(all_issued=self.gone + ALL_ISSUED)
        quiet = max(self.gone + ALL_ISSUED, self.complete[-1], ends + 1)
        self.idle_from = quiet + 1
        if self.output.is_empty:
            ends = quiet
        cycles = ends - (self.start - HEADER_TO_START) + 1
        return Prediction(cycles, self.array_cycles, ends, tuple(self.slots))

    def _compute(self, number: int, layer: Descriptor, sample: int) -> None:
        begin = max(self.gone + 1, self._may_begin(layer))
        if layer.is_streamed:
            begin = max(begin, self.stream.block(self.blocks))
            self.blocks += 1
        going = self._walk(layer, sample, begin)
        after = written(self.shape, layer.has_residual)
        self.gone = going.last
        self.busy = going.last + self.shape.groups
        self.has_residual = layer.has_residual
        self.complete.append(going.last + after + 1)
        self.array_cycles += layer.taps * layer.result_words
        self.slots.append(Slot(number, sample, int(going.firsts[0]), going.last, self.complete[-1]))
        if layer.releases_x:
            self.stream.released.append(going.last)
        if layer.is_streamed:
            self.stream.used.append(going.last)

    def _may_begin(self, layer: Descriptor) -> int:
        """At most `in_flight` slots before it may be incomplete; a change between with and without
        residuals waits for all."""
        allowed = 0 if layer.has_residual != self.has_residual else layer.in_flight
        needed = len(self.complete) - 1 - allowed
        return self.complete[needed] if needed >= 0 else 0

    def _walk(self, layer: Descriptor, sample: int, begin: int) -> Walk:
        ready = self._ready(layer, sample) if layer.src_bank == BANK_X else None
        groups = self.shape.groups
        going = walk(layer, groups, begin, self.busy, ready)
        if layer.dst_bank != BANK_OUT:
            return going
        after = written(self.shape, layer.has_residual)
        if self.output.take(going, after):
            return going
        return walk_by_word(layer, groups, begin, self.busy, ready, self.output.door(after))

    def _ready(self, layer: Descriptor, sample: int) -> Array:
        """When the word of each tap can be read."""
        first, times = self.stream.input(sample)
        is_odd = bool(sample & 1)
        words = source_words(layer, is_odd)
        place = words - first - (self.shape.x_half if is_odd else 0)
        if int(place.max(initial=-1)) >= len(times):
            raise ProgramError("a layer reads words of X that the input does not bring")
        ready = np.zeros(len(words), np.int64)
        waits = (words >= 0) & (place >= 0)
        ready[waits] = times[place[waits]]
        # Words before the first are there as soon as the loader begins: never later than the first.
        return ready
