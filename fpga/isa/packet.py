"""Commands of the input stream (docs/reference/fpga-engine.md, section 5): header, then payload."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from fpga.errors import ProgramError
from fpga.isa.descriptor import BEATS as DESCRIPTOR_BEATS
from fpga.isa.shape import EngineShape

DESC, PARAM, WEIGHT, RUN, INPUT, WSTREAM = 1, 2, 3, 4, 5, 6
MAGIC = 0xA5
Array = Any


@dataclass(frozen=True)
class Command:
    """One command. `payload` is a flat array of uint64 beats; `samples` counts for RUN only."""

    op: int
    address: int
    payload: Array
    samples: int = 0


def unit_beats(op: int, shape: EngineShape) -> int:
    """Beats of one entry or word of a command's payload."""
    return {
        DESC: DESCRIPTOR_BEATS,
        PARAM: shape.rq,
        WEIGHT: shape.weight_beats,
        INPUT: shape.word_beats,
        WSTREAM: shape.weight_beats,
    }[op]


def header(op: int, address: int, count: int) -> int:
    """The 64 bits of a header. Raises ProgramError for what does not fit."""
    if not 0 <= address < 1 << 16 or not 0 <= count < 1 << 32:
        raise ProgramError(f"command {op}: address {address} or count {count}")
    return op | MAGIC << 8 | address << 16 | count << 32


def command(op: int, address: int, payload: Array) -> Array:
    """A command's beats; payload: any little-endian array whose bytes are whole beats."""
    beats = np.ascontiguousarray(payload).reshape(-1).view("<u8")
    return np.concatenate([np.array([header(op, address, len(beats))], "<u8"), beats])


def run(samples: int) -> Array:
    """A RUN of `samples`."""
    return np.array([header(RUN, 0, samples)], "<u8")


def join(parts: Iterable[Array]) -> Array:
    """One packet of commands."""
    return np.concatenate(list(parts))


def parse(beats: Array, shape: EngineShape) -> list[Command]:
    """The commands of a packet, as the loader takes them. Raises ProgramError where it would report
    an error."""
    stream = np.asarray(beats, "<u8")
    commands: list[Command] = []
    at = 0
    while at < len(stream):
        head = int(stream[at])
        op, magic, address, count = head & 0xFF, head >> 8 & 0xFF, head >> 16 & 0xFFFF, head >> 32
        if magic != MAGIC or not DESC <= op <= WSTREAM:
            raise ProgramError(f"command {len(commands)}: bad header {head:#018x}")
        at += 1
        if op == RUN:
            if count < 1:
                raise ProgramError(f"command {len(commands)}: a run of no samples")
            commands.append(Command(op, address, stream[:0], count))
            continue
        if at + count > len(stream):
            raise ProgramError(f"command {len(commands)}: the packet ends within it")
        if count % unit_beats(op, shape) or count == 0:
            raise ProgramError(f"command {len(commands)}: {count} beats are no whole words")
        commands.append(Command(op, address, stream[at : at + count]))
        at += count
    return commands
