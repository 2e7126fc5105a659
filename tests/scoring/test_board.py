"""The shared memory: what one process writes, another reads, also after a death."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable

import pytest

from scoring.supervision.board import (
    BUSY,
    CELL_WORDS,
    CONSUMED,
    RECORDER_BYTES,
    SNAPSHOT_BYTES,
    WRITTEN,
    Board,
)


def in_child(work: Callable[[], None]) -> int:
    """Fork a process that does it and dies by SIGKILL; its id."""
    pid = os.fork()
    if pid == 0:
        try:
            work()
        finally:
            os.kill(os.getpid(), signal.SIGKILL)
    return pid


def add(past: bytes, snapshot: bytes) -> bytes:
    return b"%d" % (int(past or b"0") + int(snapshot))


def test_what_a_dead_process_wrote_is_read() -> None:
    board = Board.create(slots=4, lives=2)
    life = board.begin_life(generation=7)

    def work() -> None:
        life.is_ready = True
        life.publish(b"41")
        life.set_running([b"one", b"", b"three"])
        board.cells[2 * CELL_WORDS + CONSUMED] = 1 << 40

    os.waitpid(in_child(work), 0)
    assert life.is_ready
    assert life.generation == 7
    assert life.snapshot() == b"41"
    assert life.running() == [b"one", b"", b"three"]
    assert not life.ran_alone()
    assert board.cells[2 * CELL_WORDS + CONSUMED] == 1 << 40


def test_a_new_life_begins_empty() -> None:
    board = Board.create(slots=1, lives=1)
    life = board.begin_life(1)
    life.is_ready = True
    life.publish(b"1")
    life.set_running([b"x"])
    board.end_life(life, add)
    assert not life.is_ready
    again = board.begin_life(2)
    assert again is life
    assert (again.generation, again.is_ready, again.snapshot(), again.running()) == (
        2,
        False,
        b"",
        [],
    )
    with pytest.raises(RuntimeError):
        board.begin_life(2)


def test_the_past_keeps_what_ended_lives_counted() -> None:
    board = Board.create(slots=1, lives=2)
    one, other = board.begin_life(1), board.begin_life(1)
    one.publish(b"3")
    other.publish(b"4")
    assert sorted(board.snapshots()) == [b"3", b"4"]
    board.end_life(one, add)
    assert (board.past, board.snapshots()) == (b"3", [b"3", b"4"])
    board.end_life(other, add)
    assert board.snapshots() == [b"7"]


def test_only_ready_lives_of_the_current_generation_count() -> None:
    board = Board.create(slots=1, lives=3)
    board.set_generation(2)
    old, new, loading = board.begin_life(1), board.begin_life(2), board.begin_life(2)
    old.is_ready = new.is_ready = True
    assert board.ready_count() == 1
    loading.is_ready = True
    assert board.ready_count() == 2
    board.end_life(new, add)
    assert board.ready_count() == 1


def test_the_recorder_leaves_out_what_does_not_fit() -> None:
    life = Board.create(slots=1, lives=1).begin_life(1)
    life.set_running([b"a", bytes(RECORDER_BYTES), b"b"])
    assert life.running() == [b"a", b"b"]
    life.set_running([b"a", bytes(RECORDER_BYTES)])
    assert life.running() == [b"a"]
    assert not life.ran_alone()
    life.set_running([b"a"])
    assert life.ran_alone()
    life.clear_running()
    assert life.running() == []


def test_a_snapshot_has_a_bound() -> None:
    life = Board.create(slots=1, lives=1).begin_life(1)
    life.publish(bytes(SNAPSHOT_BYTES))
    with pytest.raises(ValueError, match="the limit is"):
        life.publish(bytes(SNAPSHOT_BYTES + 1))
    assert life.snapshot() == bytes(SNAPSHOT_BYTES)


def test_a_cell_is_reset() -> None:
    board = Board.create(slots=2, lives=1)
    for word in (CONSUMED, WRITTEN, BUSY):
        board.cells[CELL_WORDS + word] = 5
    board.reset_cell(1)
    assert not any(board.cells)


@pytest.mark.slow
def test_a_reader_never_sees_half_a_snapshot() -> None:
    life = Board.create(slots=1, lives=1).begin_life(1)
    contents = [bytes([letter]) * (200_000 + letter) for letter in b"abcdefgh"]

    def write() -> None:
        while True:
            for content in contents:
                life.publish(content)

    pid = in_child(write)
    try:
        while not life.snapshot():  # until it has begun
            pass
        seen = [life.snapshot() for _ in range(2000)]
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    assert set(seen) <= {b"", *contents}
    assert len(set(seen)) > 2
