"""When the taps of one slot go. A tap goes a clock after the one before, if its word is there; the
last of a word also waits for the requantisers, the first for room in the output FIFO."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from fpga.emulator.layer import reads
from fpga.isa.descriptor import DENSE, Descriptor

Array = Any


@dataclass(frozen=True)
class Walk:
    """firsts, lasts: the clocks in which each result word's first and last tap go."""

    firsts: Array
    lasts: Array

    @property
    def last(self) -> int:
        return int(self.lasts[-1])


@dataclass(frozen=True)
class Door:
    """room(): from which clock on the next word may begin; note(first, last): it did."""

    room: Callable[[], int]
    note: Callable[[int, int], None]


OPEN = Door(lambda: 0, lambda _first, _last: None)


def walk(layer: Descriptor, groups: int, begin: int, busy: int, ready: Array | None) -> Walk:
    """begin: the earliest clock of the first tap; busy: of the first word's last tap.

    ready: for every tap in order the clock from which its word can be read; None: all are there.
    """
    words, taps = layer.result_words, layer.taps
    if ready is None or int(ready.max()) <= begin:
        end = max(begin + taps - 1, busy)
        lasts = end + np.arange(words, dtype=np.int64) * max(taps, groups)
        return Walk(np.concatenate([[begin], lasts[:-1] + 1]), lasts)
    if taps < groups:
        return walk_by_word(layer, groups, begin, busy, ready)
    ready = ready.copy()
    ready[0] = max(ready[0], begin)
    ready[taps - 1] = max(ready[taps - 1], busy)
    order = np.arange(len(ready))
    goes = (np.maximum.accumulate(ready - order) + order).reshape(words, taps)
    return Walk(goes[:, 0], goes[:, -1])


def walk_by_word(
    layer: Descriptor,
    groups: int,
    begin: int,
    busy: int,
    ready: Array | None,
    door: Door = OPEN,
) -> Walk:
    """The same, a word at a time, each through the door of the output FIFO."""
    words, taps = layer.result_words, layer.taps
    order = np.arange(taps)
    there = None if ready is None else ready.reshape(words, taps)
    firsts, lasts = np.zeros(words, np.int64), np.zeros(words, np.int64)
    for word in range(words):
        at = begin if there is None else max(begin, int(there[word, 0]))
        at = max(at, door.room())
        end = at + taps - 1
        if there is not None and taps > 1:
            goes = np.maximum(there[word], at) - order
            end = int(goes.max()) + taps - 1
        end = max(end, busy)
        firsts[word] = at if taps > 1 else end
        lasts[word] = end
        door.note(int(firsts[word]), end)
        begin, busy = end + 1, end + groups
    return Walk(firsts, lasts)


@lru_cache(maxsize=256)
def source_words(layer: Descriptor, is_odd: bool) -> Array:
    """The word numbers that the taps read, in order; -1 is padding."""
    words = reads(layer, is_odd).words
    if layer.kind == DENSE:
        pixels = words.reshape(len(words), 1, layer.taps)
        return np.broadcast_to(pixels, (len(words), layer.oct, layer.taps)).reshape(-1)
    return words.transpose(0, 2, 1).reshape(-1)
