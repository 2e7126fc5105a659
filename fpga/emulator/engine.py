"""Memories, loader and sequencer: packets in, packets out, as the engine would answer them.

The loader runs ahead as far as the hardware lets it. What would hang in hardware, or depend on its
timing, is a ProgramError here, so a program that runs here runs there.
"""

from __future__ import annotations

from collections import deque
from typing import Any

import numpy as np

from fpga.emulator.layer import compute, places, reads
from fpga.errors import ProgramError
from fpga.isa import packet
from fpga.isa.descriptor import BEATS, Descriptor, check_program, decode
from fpga.isa.shape import BANK_A, BANK_B, BANK_OUT, BANK_X, EngineShape

Array = Any
_NEVER = -(1 << 40)


class EmulatedEngine:
    """An engine of `shape`. Memories hold zeros at first and keep their contents."""

    def __init__(self, shape: EngineShape) -> None:
        n = shape.n
        self.shape = shape
        self.weights = np.zeros((shape.w_words, n, n), np.int8)
        self.parameters = np.zeros((shape.p_words, shape.rq), np.uint64)
        self.descriptors: list[Descriptor | None] = [None] * shape.d_words
        self.banks = {
            BANK_X: np.zeros((shape.x_words, n), np.int8),
            BANK_A: np.zeros((shape.a_words, n), np.int8),
            BANK_B: np.zeros((shape.b_words, n), np.int8),
        }

    def __repr__(self) -> str:
        loaded = sum(layer is not None for layer in self.descriptors)
        return f"EmulatedEngine(n={self.shape.n}, layers={loaded})"

    def send(self, beats: Array) -> list[Array]:
        """The output packets (uint64 beats) that a packet of commands brings: one for each RUN.

        Raises ProgramError for what the engine reports as an error, for a program that would hang,
        for a program that breaks a rule of the contract, and for a layer that may read what is not
        there yet or not there any more.
        """
        commands = deque(packet.parse(beats, self.shape))
        outputs = []
        while commands:
            command = commands.popleft()
            if command.op == packet.RUN:
                outputs.append(_Run(self, command.samples, commands).output())
            elif command.op in (packet.INPUT, packet.WSTREAM):
                raise ProgramError("an input or streamed weights without a run")
            else:
                self._load(command)
        return outputs

    def program(self) -> list[Descriptor]:
        """The loaded program. Raises ProgramError if none ends with `last`."""
        layers: list[Descriptor] = []
        for layer in self.descriptors:
            if layer is None:
                break
            layers.append(layer)
            if layer.is_last:
                return layers
        raise ProgramError("a run before a whole program was loaded")

    def _load(self, command: packet.Command) -> None:
        entries = command.payload.reshape(-1, packet.unit_beats(command.op, self.shape))
        end = command.address + len(entries)
        limit = {
            packet.DESC: self.shape.d_words,
            packet.PARAM: self.shape.p_words,
            packet.WEIGHT: self.shape.w_words,
        }[command.op]
        if end > limit:
            raise ProgramError(f"a payload up to word {end} of {limit}")
        if command.op == packet.DESC:
            for number, entry in enumerate(entries.reshape(-1, BEATS), command.address):
                self.descriptors[number] = decode(entry)
        elif command.op == packet.PARAM:
            self.parameters[command.address : end] = entries
        else:
            self.write_weights(command.address, command.payload)

    def write_weights(self, address: int, payload: Array) -> Array:
        """Weight words from `address` on; the numbers of those that are others now. Raises
        ProgramError beyond the memory."""
        n = self.shape.n
        words = payload.view(np.int8).reshape(-1, n, n)
        if address + len(words) > self.shape.w_words:
            raise ProgramError(f"weights up to {address + len(words)} of {self.shape.w_words}")
        place = self.weights[address : address + len(words)]
        changed = address + np.flatnonzero((place != words).any(axis=(1, 2)))
        place[:] = words
        return changed


class _Run:
    """One RUN: the loader and the sequencer hand over inputs and streamed weights."""

    def __init__(
        self, engine: EmulatedEngine, samples: int, commands: deque[packet.Command]
    ) -> None:
        self.engine, self.samples, self.commands = engine, samples, commands
        self.shape = engine.shape
        self.program = engine.program()
        check_program(self.program, self.shape)
        self.ends: list[int] = []  # of each sample loaded: the end of its words in X
        self.released = 0  # samples whose half of X is free again
        self.blocks: deque[Array] = deque()  # loaded, not used up: which weights each changed
        self.writers = {
            bank: np.full(len(engine.banks[bank]), _NEVER, np.int64) for bank in (BANK_A, BANK_B)
        }
        self.words: list[Array] = []

    def output(self) -> Array:
        depth = 1 + max(layer.stage for layer in self.program)
        slot = 0
        for turn in range(self.samples + depth - 1):
            for number, layer in enumerate(self.program):
                sample = turn - layer.stage
                if 0 <= sample < self.samples:
                    self._step(number, layer, sample, slot)
                slot += 1
        self._advance()
        if len(self.ends) != self.samples:
            raise ProgramError(f"{len(self.ends)} inputs for a run of {self.samples} samples")
        if self.blocks:
            raise ProgramError(f"{len(self.blocks)} blocks of weights that no layer uses")
        if not self.words:
            return np.zeros(0, np.uint64)
        return np.concatenate([w.reshape(-1) for w in self.words]).view(np.uint64)

    def _advance(self) -> None:
        """The loader takes what it may take now."""
        while self.commands:
            command = self.commands[0]
            if command.op == packet.INPUT:
                if len(self.ends) == self.samples:
                    raise ProgramError("an input that no run asked for")
                if len(self.ends) - self.released >= 2:
                    return
                self._input(command)
            elif command.op == packet.WSTREAM:
                if len(self.blocks) >= 2:
                    return
                self.blocks.append(self.engine.write_weights(command.address, command.payload))
            else:
                return
            self.commands.popleft()

    def _input(self, command: packet.Command) -> None:
        words = command.payload.view(np.int8).reshape(-1, self.shape.n)
        if command.address + len(words) > self.shape.x_half:
            raise ProgramError(
                f"an input up to word {command.address + len(words)} of {self.shape.x_half}"
            )
        start = (len(self.ends) & 1) * self.shape.x_half + command.address
        self.engine.banks[BANK_X][start : start + len(words)] = words
        self.ends.append(start + len(words))

    def _step(self, number: int, layer: Descriptor, sample: int, slot: int) -> None:
        self._advance()
        is_odd = bool(sample & 1)
        source = reads(layer, is_odd)
        n = self.shape.n
        self._check_weights(number, layer)
        if layer.src_bank == BANK_X:
            self._check_input(number, sample, source.used)
        else:
            self._check(number, layer, layer.src_bank, source.used, slot)
        bank = self.engine.banks[layer.src_bank]
        padded = np.where(source.words[..., None] >= 0, bank[source.words], np.int8(layer.pad))
        parameters = self.engine.parameters[
            layer.p_base : layer.p_base + layer.oct * self.shape.groups
        ].reshape(layer.oct, n)
        res = None
        if layer.has_residual:
            where = places(layer.res, layer.res_alt, layer.res_pixel, layer, is_odd)
            self._check(number, layer, layer.res_bank, where, slot)
            res = self.engine.banks[layer.res_bank][where]
        result = compute(layer, padded, self.engine.weights[layer.w_base :], parameters, res)
        if layer.is_streamed:
            self.blocks.popleft()
        if layer.releases_x:
            self.released += 1
        if layer.dst_bank == BANK_OUT:
            self.words.append(result.reshape(-1, n))
            return
        where = places(layer.dst, layer.dst_alt, layer.dst_pixel, layer, is_odd)
        self.engine.banks[layer.dst_bank][where] = result
        self.writers[layer.dst_bank][where] = slot

    def _check_input(self, number: int, sample: int, words: Array) -> None:
        """Words are waited for within the sample's half of X, and there only."""
        if sample >= len(self.ends):
            raise ProgramError(f"layer {number} waits for ever for the input of sample {sample}")
        if not words.size:
            return
        if int(words.max()) >= self.ends[sample]:
            raise ProgramError(
                f"layer {number} waits for ever for word {int(words.max())} of X; sample {sample}"
                f" ends at {self.ends[sample]}"
            )
        if int(words.min()) < (sample & 1) * self.shape.x_half:
            raise ProgramError(f"layer {number} reads another sample's half of X")

    def _check_weights(self, number: int, layer: Descriptor) -> None:
        """A block is loaded while others are read, as early as there is room for it: it must not
        change what they hold."""
        if layer.is_streamed and not self.blocks:
            raise ProgramError(f"layer {number} waits for ever for streamed weights")
        end = layer.w_base + layer.weight_words
        for changed in list(self.blocks)[int(layer.is_streamed) :]:
            if np.any((changed >= layer.w_base) & (changed < end)):
                raise ProgramError(
                    f"layer {number} may read weights that the stream has written over"
                )

    def _check(self, number: int, layer: Descriptor, bank: int, words: Array, slot: int) -> None:
        """A slot may start when `in_flight` before it are incomplete: none of these may have
        written what it reads."""
        latest = int(self.writers[bank][words].max(initial=_NEVER))
        if latest >= slot - layer.in_flight:
            raise ProgramError(
                f"layer {number} may read what a layer {slot - latest} slots before has not written"
            )
