"""The memory that a supervisor and its server processes share.

    board = Board.create(slots=65536, lives=12)     # before the first fork
    life = board.begin_life(generation=1)           # the parent, before each fork
    life.is_ready = True; life.publish(metrics)     # the child
    life.set_running([body]); ...; life.clear_running()
    board.snapshots()                               # any process: the past, then each living child
    board.end_life(life, fold)                      # the parent, when the child has died

Three kinds of content:

- a *cell* per connection: bytes consumed, bytes written, busy. One cache line each, so that two
  processes never write to the same line.
- a *life* per child process: ready flag, its published metrics, and a flight recorder with the
  request bodies of the batch that runs now, which outlives the process and names its killer.
- the *past*: the metrics of all lives that have ended, folded into one.

It is an anonymous mapping: pages that nobody touched cost nothing, so the sizes are generous.
A cell and a life have one writer at a time, the past and the counters only the parent.
"""

from __future__ import annotations

import contextlib
import itertools
import mmap
import struct
import zlib
from collections.abc import Callable, Sequence

SNAPSHOT_BYTES = 1 << 20
"""The longest metrics snapshot."""
RECORDER_BYTES = 4 << 20
"""Request bodies of one batch that are recorded, all together; what does not fit is left out."""
RECORDER_BODIES = 4096

CELL_WORDS = 8
"""64-bit words in a connection's cell (a cache line). Of these, three are used:"""
CONSUMED, WRITTEN, BUSY = 0, 1, 2

Fold = Callable[[bytes, bytes], bytes]
"""fold(past, snapshot) -> the new past. Either may be empty."""

_PAGE = 4096
_NORESERVE = 0x4000  # MAP_NORESERVE; the mmap module has no name for it before Python 3.13
_TRIES = 10_000
_WORD = 8

# Words of the board's first page.
_SEQUENCE, _RESTARTS, _GENERATION = range(3)
# Words of a life's first page; its snapshot's words follow.
_LIVE, _READY, _OF_GENERATION, _RUNNING, _LEFT_OUT = range(5)

_BUFFER_SPAN = 2 * SNAPSHOT_BYTES
_SIZES_SPAN = RECORDER_BODIES * _WORD
_LIFE_SPAN = _PAGE + _SIZES_SPAN + _BUFFER_SPAN + RECORDER_BYTES


class Board:
    """See the module. ``slots`` is the number of connections, ``lives`` of processes at a time."""

    def __init__(self, memory: mmap.mmap, slots: int, lives: int) -> None:
        self._memory = memory
        view = memoryview(memory)
        self.slots = slots
        self._words = view[:_PAGE].cast("Q")
        at = _PAGE
        self._past = _DoubleBuffer(
            view[at : at + _PAGE].cast("Q"), view[at + _PAGE : at + _PAGE + _BUFFER_SPAN]
        )
        at += _PAGE + _BUFFER_SPAN
        cells_span = slots * CELL_WORDS * _WORD
        self.cells = view[at : at + cells_span].cast("Q")
        """All cells: words ``slot * CELL_WORDS + (CONSUMED | WRITTEN | BUSY)``."""
        at += _paged(cells_span)
        self._lives = [
            Life(view[start : start + _LIFE_SPAN], start)
            for start in range(at, at + lives * _LIFE_SPAN, _LIFE_SPAN)
        ]

    @classmethod
    def create(cls, *, slots: int, lives: int) -> Board:
        """A new one, to be inherited by fork."""
        span = 2 * _PAGE + _BUFFER_SPAN + _paged(slots * CELL_WORDS * _WORD) + lives * _LIFE_SPAN
        flags = mmap.MAP_SHARED | mmap.MAP_ANONYMOUS | _NORESERVE
        return cls(mmap.mmap(-1, span, flags=flags), slots, lives)

    # What all processes may read

    @property
    def restarts(self) -> int:
        """How many processes had to be replaced."""
        return self._words[_RESTARTS]

    @property
    def generation(self) -> int:
        """The number of the generation that gets new connections."""
        return self._words[_GENERATION]

    @property
    def past(self) -> bytes:
        """The folded snapshots of all lives that have ended."""
        return self._past.read()

    def ready_count(self) -> int:
        """How many living processes of the current generation are ready."""
        current = self.generation
        ready = [life for life in self._lives if life.is_live and life.is_ready]
        return sum(1 for life in ready if life.generation == current)

    def snapshots(self) -> list[bytes]:
        """The past, then the last snapshot of each life, none counted twice or missing."""
        found: list[bytes] = []
        for _ in range(_TRIES):
            before = self._words[_SEQUENCE]
            found = [self.past, *(life.snapshot() for life in self._lives if life.is_live)]
            if before % 2 == 0 and self._words[_SEQUENCE] == before:
                break
        return [snapshot for snapshot in found if snapshot]

    # What the parent does

    @property
    def free_lives(self) -> int:
        """How many more lives can begin."""
        return sum(1 for life in self._lives if not life.is_live)

    def begin_life(self, generation: int) -> Life:
        """A place for a new process. Raises RuntimeError when none is free."""
        for life in self._lives:
            if not life.is_live:
                with contextlib.suppress(OSError):  # gives the pages of the last life back
                    self._memory.madvise(mmap.MADV_REMOVE, life.start, _LIFE_SPAN)
                life.begin(generation)
                return life
        raise RuntimeError("too many processes at once")

    def end_life(self, life: Life, fold: Fold) -> None:
        """Move its last snapshot into the past; readers see it before or after, never between."""
        snapshot = life.snapshot()
        past = fold(self.past, snapshot) if snapshot else self.past
        self._words[_SEQUENCE] += 1
        self._past.publish(past)
        life.end()
        self._words[_SEQUENCE] += 1

    def count_restart(self) -> None:
        """One more process was replaced."""
        self._words[_RESTARTS] += 1

    def set_generation(self, number: int) -> None:
        """New connections go to this generation from now on."""
        self._words[_GENERATION] = number

    def reset_cell(self, slot: int) -> None:
        """A new connection has this slot."""
        start = slot * CELL_WORDS
        self.cells[start + CONSUMED] = self.cells[start + WRITTEN] = self.cells[start + BUSY] = 0


class Life:
    """One process's part of the board, from its fork to its death."""

    def __init__(self, memory: memoryview, start: int) -> None:
        self.start = start
        self._words = memory[:_PAGE].cast("Q")
        at = _PAGE
        self._sizes = memory[at : at + _SIZES_SPAN]
        at += _SIZES_SPAN
        self._snapshot = _DoubleBuffer(
            memory[_PAGE // 2 : _PAGE].cast("Q"), memory[at : at + _BUFFER_SPAN]
        )
        at += _BUFFER_SPAN
        self._bodies = memory[at : at + RECORDER_BYTES]

    def begin(self, generation: int) -> None:
        """A process will use it."""
        for word in range(len(self._words)):
            self._words[word] = 0
        self._words[_OF_GENERATION] = generation
        self._words[_LIVE] = 1

    def end(self) -> None:
        """Nobody uses it any more."""
        self._words[_LIVE] = self._words[_READY] = self._words[_RUNNING] = 0

    @property
    def is_live(self) -> bool:
        """A process has it."""
        return bool(self._words[_LIVE])

    @property
    def generation(self) -> int:
        """The generation's number of its process."""
        return self._words[_OF_GENERATION]

    @property
    def is_ready(self) -> bool:
        """Its process says that it can answer."""
        return bool(self._words[_READY])

    @is_ready.setter
    def is_ready(self, is_ready: bool) -> None:
        self._words[_READY] = is_ready

    def publish(self, snapshot: bytes) -> None:
        """Replace the process's metrics. Raises ValueError over SNAPSHOT_BYTES."""
        self._snapshot.publish(snapshot)

    def snapshot(self) -> bytes:
        """The metrics it last published, whole; empty before the first."""
        return self._snapshot.read()

    def set_running(self, bodies: Sequence[bytes]) -> None:
        """These request bodies run now, in this process."""
        kept: Sequence[bytes] = bodies
        content = bodies[0] if len(bodies) == 1 else b"".join(bodies)
        if len(content) > RECORDER_BYTES or len(bodies) > RECORDER_BODIES:
            kept = _fitting(bodies)
            content = b"".join(kept)
        self._bodies[: len(content)] = content
        struct.pack_into(f"{len(kept)}Q", self._sizes, 0, *map(len, kept))
        self._words[_LEFT_OUT] = len(bodies) - len(kept)
        self._words[_RUNNING] = len(kept)

    def clear_running(self) -> None:
        """Nothing runs now."""
        self._words[_RUNNING] = 0

    def running(self) -> list[bytes]:
        """The recorded bodies that run now, or ran when the process died."""
        sizes = struct.unpack_from(f"{self._words[_RUNNING]}Q", self._sizes)
        ends = list(itertools.accumulate(sizes))
        return [
            bytes(self._bodies[end - size : end]) for end, size in zip(ends, sizes, strict=True)
        ]

    def ran_alone(self) -> bool:
        """One body runs, and none was left out for its size."""
        return self._words[_RUNNING] == 1 and not self._words[_LEFT_OUT]


class _DoubleBuffer:
    """Bytes that one process replaces and others read, without locks and never half of each.

    The writer fills the buffer that is not shown and then shows it. A reader that was overtaken
    sees that by the number; the checksum is for processors that reorder writes."""

    def __init__(self, words: memoryview[int], memory: memoryview[int]) -> None:
        self._words = words  # number of publications, then (length, checksum) of either buffer
        self._memory = memory

    def publish(self, content: bytes) -> None:
        size = len(content)
        if size > SNAPSHOT_BYTES:
            raise ValueError(f"snapshot of {size} bytes; the limit is {SNAPSHOT_BYTES}")
        number = self._words[0] + 1
        side = number % 2
        start = side * SNAPSHOT_BYTES
        self._memory[start : start + size] = content
        self._words[1 + 2 * side] = size
        self._words[2 + 2 * side] = zlib.crc32(content)
        self._words[0] = number

    def read(self) -> bytes:
        for _ in range(_TRIES):
            number = self._words[0]
            side = number % 2
            start = side * SNAPSHOT_BYTES
            size = min(self._words[1 + 2 * side], SNAPSHOT_BYTES)
            checksum = self._words[2 + 2 * side]
            content = bytes(self._memory[start : start + size])
            if self._words[0] == number and zlib.crc32(content) == checksum:
                return content
        return b""  # its writer died between two words, or writes without pause


def _fitting(bodies: Sequence[bytes]) -> list[bytes]:
    """Those that the recorder has room for, the first ones first."""
    kept: list[bytes] = []
    room = RECORDER_BYTES
    for body in bodies:
        if len(body) <= room and len(kept) < RECORDER_BODIES:
            kept.append(body)
            room -= len(body)
    return kept


def _paged(size_bytes: int) -> int:
    return -(-size_bytes // _PAGE) * _PAGE
