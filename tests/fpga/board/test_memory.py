"""Contiguous memory ends, and what the cache holds back is not there."""

import sys
import threading
from collections.abc import Iterator

import numpy as np
import pytest

from fpga.board.memory import BASE, PAGE, Block, Memory
from fpga.errors import CapacityError


def test_what_is_not_flushed_does_not_reach_memory() -> None:
    memory = Memory(1 << 16)
    block = memory.allocate(100)
    block.shadow[:] = 7
    assert not memory.bytes[:100].any()
    memory.flush(block)
    assert (memory.bytes[:100] == 7).all()


def test_what_the_logic_writes_is_seen_after_an_invalidate() -> None:
    memory = Memory(1 << 16)
    block = memory.allocate(100)
    memory.bytes[:100] = 9
    assert not block.shadow.any()
    memory.invalidate(block, 10, 20)
    assert np.flatnonzero(block.shadow).tolist() == list(range(10, 30))


def test_without_a_cache_both_see_the_same() -> None:
    memory = Memory(1 << 16)
    block = memory.allocate(10, is_cacheable=False)
    block.shadow[3] = 5
    assert memory.bytes[3] == 5


def test_memory_is_given_in_pages_and_runs_out() -> None:
    memory = Memory(4 * PAGE)
    blocks = [memory.allocate(1) for _ in range(4)]
    assert [block.address for block in blocks] == [BASE + n * PAGE for n in range(4)]
    with pytest.raises(CapacityError, match="no contiguous memory for 1 bytes"):
        memory.allocate(1)
    memory.free(blocks[1])
    memory.free(blocks[3])
    with pytest.raises(CapacityError):
        memory.allocate(2 * PAGE)
    assert memory.allocate(PAGE).address == BASE + PAGE
    memory.free(blocks[1])
    assert memory.used == 3 * PAGE


def test_memory_that_is_given_again_is_zeroed() -> None:
    memory = Memory(PAGE)
    block = memory.allocate(8)
    block.shadow[:] = 1
    memory.flush(block)
    memory.free(block)
    assert not memory.allocate(8).shadow.any()


@pytest.fixture
def threads_change_often() -> Iterator[None]:
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


@pytest.mark.usefixtures("threads_change_often")
def test_threads_never_get_the_same_memory() -> None:
    for _ in range(50):
        memory = Memory(32 * PAGE)
        gate, found = threading.Barrier(4), list[Block]()
        threads = [threading.Thread(target=_take, args=(memory, gate, found)) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert len({block.address for block in found}) == len(found) == 32


def _take(memory: Memory, gate: threading.Barrier, found: list[Block]) -> None:
    gate.wait(60)
    for _ in range(8):
        found.append(memory.allocate(PAGE))
