"""The packet of a RUN, kept in a buffer: headers and streamed weights are written once, and each
run writes its count and its inputs only."""

from __future__ import annotations

from typing import Any

import numpy as np

from fpga.artifact import INPUT, Artifact
from fpga.isa import packet

Array = Any


class Packing:
    """How samples of one artifact lie in a packet. Sizes in beats of 64 bits."""

    def __init__(self, artifact: Artifact) -> None:
        self.input_beats = artifact.input_words * artifact.shape.word_beats
        self.answer_beats = artifact.output_words * artifact.shape.word_beats
        blocks, before = artifact.blocks(), 0
        parts: list[Array] = []
        nothing = packet.command(packet.INPUT, 0, np.zeros(self.input_beats, "<u8"))
        for place in artifact.order:
            if place == INPUT:
                before = sum(len(part) for part in parts) + 1  # its header
            parts.append(nothing if place == INPUT else blocks[place])
        self._input_at = before
        self._sample = packet.join(parts)

    @property
    def sample_beats(self) -> int:
        return len(self._sample)

    def size(self, samples: int) -> int:
        """Of a packet of so many."""
        return 1 + samples * self.sample_beats

    def prepare(self, beats: Array) -> None:
        """All that stays the same, for as many samples as ``beats`` holds."""
        self._rows(beats)[:] = self._sample

    def fill(self, beats: Array, payloads: Array) -> int:
        """Payloads [B, input_beats] into what was prepared; returns the packet's size."""
        samples = len(payloads)
        beats[0] = packet.header(packet.RUN, 0, samples)
        at = self._input_at
        self._rows(beats)[:samples, at : at + self.input_beats] = payloads
        return self.size(samples)

    def _rows(self, beats: Array) -> Array:
        plain = beats.view(np.ndarray)  # pynq's arrays look at each part that is taken of them
        samples = (len(plain) - 1) // self.sample_beats
        return plain[1 : 1 + samples * self.sample_beats].reshape(samples, self.sample_beats)
