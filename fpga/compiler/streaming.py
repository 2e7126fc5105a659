"""Which layers' weights come through the packet, in which blocks, and where in W each block goes.

What fits stays in W. The rest is split by output tiles into blocks, which go to two regions of W in
turn (the loader keeps two blocks), so that one is loaded while the other is read.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from fpga.errors import CapacityError


@dataclass(frozen=True, slots=True)
class Size:
    """Of a layer's weights: ``words`` = ``tiles`` of the output times ``taps``."""

    words: int
    tiles: int
    taps: int


@dataclass(frozen=True, slots=True)
class Plan:
    """``parts``: (first output tile, count) of each streamed layer's blocks; ``bases``: where each
    block goes in W, in order."""

    parts: dict[int, list[tuple[int, int]]]
    bases: list[int]


def plan(sizes: Mapping[int, Size], taken: int, w_words: int) -> Plan:
    """By the layers' numbers; ``taken``: words at the start of W that are used otherwise. Raises
    CapacityError."""
    limit = w_words - taken
    streamed: set[int] = set()
    while True:
        rest = limit - sum(size.words for at, size in sizes.items() if at not in streamed)
        if rest >= 0:
            blocks = {at: sizes[at] for at in sorted(streamed)}
            found = _blocks(blocks, rest, w_words - rest)
            if found is not None:
                return found
        left = [number for number in sizes if number not in streamed]
        if not left:
            least = max(size.taps for size in sizes.values())
            raise CapacityError(
                f"one output tile of a layer needs {least} words of weights, two or three times"
                f" over, and the engine's W holds {limit}: larger w_words are needed"
            )
        # A weight is read once for each sample, whichever layer's it is: take the largest.
        streamed.add(max(left, key=lambda number: sizes[number].words))


def _blocks(streamed: Mapping[int, Size], rest: int, first: int) -> Plan | None:
    """In the last ``rest`` words of W, from ``first`` on: two regions, or three where two would put
    one block into the region of the block before it (the first follows on the last, in the next
    sample)."""
    if not streamed:
        return Plan({}, [])
    for regions in (2, 3):
        slot = rest // regions
        parts: dict[int, list[tuple[int, int]]] = {}
        for number, size in streamed.items():
            at_once = slot // size.taps
            if len(streamed) == 1:
                at_once = min(at_once, -(-size.tiles // 2))
            if at_once == 0:
                return None
            parts[number] = [
                (at, min(at_once, size.tiles - at)) for at in range(0, size.tiles, at_once)
            ]
        count = sum(len(each) for each in parts.values())
        if count > 1 and count % regions != 1:
            return Plan(parts, [first + at % regions * slot for at in range(count)])
        if count > 3 and regions == 3:
            order = [at % 3 for at in range(count - 1)] + [1]
            return Plan(parts, [first + region * slot for region in order])
    return None
