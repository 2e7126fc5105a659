"""Contiguous memory, as CMA gives it, and the processor's cache before it.

A cacheable buffer is a copy: what the processor writes reaches memory at a flush, and what the
logic writes reaches the processor at an invalidate. So whoever forgets one of them sees it here.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Any

import numpy as np

from fpga.errors import CapacityError

Array = Any
PAGE = 4096
BASE = 0x10000000


@dataclass(slots=True)
class Block:
    """``shadow``: what the processor sees; memory itself where it is not cacheable."""

    address: int
    size: int
    is_cacheable: bool
    shadow: Array


class Memory:
    """``size`` bytes from BASE on. Several threads may allocate and free."""

    def __init__(self, size: int) -> None:
        self.bytes = np.zeros(size, np.uint8)
        self._blocks: dict[int, Block] = {}
        # Re-entrant: a buffer that is collected in the midst of an allocation frees its block.
        self._lock = threading.RLock()

    def __repr__(self) -> str:
        return f"Memory({self.used} of {len(self.bytes)} bytes, {len(self._blocks)} blocks)"

    @property
    def used(self) -> int:
        """Bytes, in whole pages."""
        with self._lock:
            return sum(_paged(block.size) for block in self._blocks.values())

    def allocate(self, size: int, *, is_cacheable: bool = True) -> Block:
        """Whole pages, zeroed. Raises CapacityError where no place is large enough."""
        if size < 1:
            raise CapacityError("a buffer needs at least a byte")
        with self._lock:
            at = self._place(size)
            view = self._view(at, size)
            view[:] = 0
            found = Block(at, size, is_cacheable, view.copy() if is_cacheable else view)
            self._blocks[at] = found
        return found

    def _place(self, size: int) -> int:
        """The lowest address with room for ``size`` bytes."""
        at = BASE
        for block in sorted(self._blocks.values(), key=lambda each: each.address):
            if block.address - at >= _paged(size):
                break
            at = block.address + _paged(block.size)
        if at + _paged(size) > BASE + len(self.bytes):
            raise CapacityError(
                f"no contiguous memory for {size} bytes: {len(self.bytes) - self.used} of"
                f" {len(self.bytes)} are free"
            )
        return at

    def free(self, block: Block) -> None:
        """Idempotent: whoever got its place since keeps it."""
        with self._lock:
            if self._blocks.get(block.address) is block:
                del self._blocks[block.address]

    def flush(self, block: Block, start: int = 0, size: int | None = None) -> None:
        """The processor's writes reach memory."""
        if block.is_cacheable:
            part = slice(start, block.size if size is None else start + size)
            self._view(block.address, block.size)[part] = block.shadow[part]

    def invalidate(self, block: Block, start: int = 0, size: int | None = None) -> None:
        """The processor sees memory anew."""
        if block.is_cacheable:
            part = slice(start, block.size if size is None else start + size)
            block.shadow[part] = self._view(block.address, block.size)[part]

    def _view(self, address: int, size: int) -> Array:
        return self.bytes[address - BASE : address - BASE + size]


def _paged(size: int) -> int:
    return -(-size // PAGE) * PAGE
