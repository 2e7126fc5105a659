"""The writer: a queue that loses nothing while writing gets on, and holds nobody up for good."""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence

import pytest

from registry.errors import ImmutableError, StoreFullError
from registry.tracking import Point, Value
from runtime.tracking.writer import Writer

TIMEOUT_S = 60.0


class Disk:
    """Takes what is written, unless it is full or held."""

    def __init__(self) -> None:
        self.points: list[Point] = []
        self.values: list[Value] = []
        self.batches = 0
        self.is_full = False
        self.is_free = threading.Event()
        self.is_free.set()
        self.is_asked = threading.Event()

    def write(self, points: Sequence[Point], values: Sequence[Value]) -> None:
        self.is_asked.set()
        assert self.is_free.wait(TIMEOUT_S)
        if self.is_full:
            raise StoreFullError("no space is left")
        self.points += points
        self.values += values
        self.batches += 1


def point(number: int) -> Point:
    return ("a", float(number), None, number)


def numbers(disk: Disk) -> list[float]:
    return [value for _, value, _, _ in disk.points]


def test_what_is_put_is_written_in_order_and_in_few_batches() -> None:
    disk = Disk()
    writer = Writer(disk.write)
    for number in range(10_000):
        writer.put(point(number))
    writer.put(("l", "list", 0, "[]"))
    assert writer.flush(TIMEOUT_S)
    assert numbers(disk) == [float(n) for n in range(10_000)]
    assert disk.values == [("l", "list", 0, "[]")]
    assert disk.batches < 50
    assert writer.close(TIMEOUT_S)


def test_it_writes_by_itself_when_time_is_up() -> None:
    disk = Disk()
    writer = Writer(disk.write, every_s=0.01)
    writer.put(point(1))
    assert disk.is_asked.wait(TIMEOUT_S)
    assert writer.close(TIMEOUT_S)
    assert numbers(disk) == [1.0]


def test_putting_returns_at_once_while_the_disk_is_held() -> None:
    disk = Disk()
    disk.is_free.clear()
    writer = Writer(disk.write, every_s=0.001)
    for number in range(5000):
        assert writer.put(point(number))
    assert disk.is_asked.wait(TIMEOUT_S)
    assert not writer.flush(0.05)
    disk.is_free.set()
    assert writer.close(TIMEOUT_S)
    assert len(disk.points) == 5000


def test_a_full_queue_waits_for_room_and_loses_nothing() -> None:
    disk = Disk()
    writer = Writer(disk.write, capacity=10)
    for number in range(1000):
        assert writer.put(point(number))
    assert writer.close(TIMEOUT_S)
    assert numbers(disk) == [float(n) for n in range(1000)]


def test_a_full_queue_before_a_disk_that_is_too_slow_loses_and_says_so_once() -> None:
    disk = Disk()
    disk.is_free.clear()
    said: list[str] = []
    writer = Writer(disk.write, capacity=10, patience_s=0.01, say=said.append)
    kept = [writer.put(point(number)) for number in range(40)]
    assert kept.count(False) == writer.lost > 0
    assert said == ["more is logged than can be written: values are lost from now on"
                    " (writing is too slow)"]  # fmt: skip
    disk.is_free.set()
    assert not writer.close(TIMEOUT_S)
    assert numbers(disk) == [float(n) for n, is_kept in enumerate(kept) if is_kept]


def test_a_full_disk_is_tried_again_and_keeps_what_it_has() -> None:
    disk = Disk()
    disk.is_full = True
    said: list[str] = []
    writer = Writer(disk.write, say=said.append)
    writer.put(point(1))
    assert not writer.flush(TIMEOUT_S)
    assert isinstance(writer.error, StoreFullError)
    writer.put(point(2))
    assert not writer.flush(TIMEOUT_S)
    disk.is_full = False
    assert writer.flush(TIMEOUT_S)
    assert numbers(disk) == [1.0, 2.0]
    assert said == [
        "what is logged cannot be written now: no space is left",
        "what is logged is written again",
    ]
    assert writer.close(TIMEOUT_S)


def test_a_full_disk_and_a_full_queue_lose_without_waiting() -> None:
    disk = Disk()
    disk.is_full = True
    writer = Writer(disk.write, capacity=5, patience_s=1e6)
    for number in range(5):
        writer.put(point(number))
    assert not writer.flush(TIMEOUT_S)
    for number in range(100):
        writer.put(point(number))
    assert writer.lost > 80
    assert not writer.close(TIMEOUT_S)
    assert writer.lost == 105


def test_values_are_bounded_by_their_size() -> None:
    disk = Disk()
    disk.is_free.clear()
    writer = Writer(disk.write, patience_s=0.01)
    big = "x" * (40 * 1024 * 1024)
    assert writer.put(("a", "list", 0, big))
    assert not writer.put(("a", "list", 0, big))
    disk.is_free.set()
    assert writer.flush(TIMEOUT_S)
    assert writer.put(("a", "list", 0, big))
    assert not writer.close(TIMEOUT_S)
    assert len(disk.values) == 2


def test_threads_that_log_at_once_lose_nothing() -> None:
    disk = Disk()
    writer = Writer(disk.write, capacity=500)

    def work(name: str) -> None:
        for number in range(2000):
            writer.put((name, float(number), None, 0))

    threads = [threading.Thread(target=work, args=(name,)) for name in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert writer.close(TIMEOUT_S)
    for name in "abcd":
        assert [v for key, v, _, _ in disk.points if key == name] == [float(n) for n in range(2000)]


def test_after_the_end_nothing_is_taken() -> None:
    writer = Writer(Disk().write)
    assert writer.close(TIMEOUT_S)
    with pytest.raises(ImmutableError, match="has ended"):
        writer.put(point(1))


def test_first_comes_before_all_that_is_written_and_its_failure_does_not_matter() -> None:
    disk = Disk()
    order: list[str] = []

    def first() -> None:
        order.append("first")
        raise RuntimeError

    def write(points: Sequence[Point], values: Sequence[Value]) -> None:
        order.append("write")
        disk.write(points, values)

    def beat() -> None:
        raise RuntimeError

    writer = Writer(write, first=first, beat=beat)
    writer.put(point(1))
    assert writer.close(TIMEOUT_S)
    assert (order[0], order[-1]) == ("first", "write")


def test_a_forked_process_writes_its_own_and_not_its_parents() -> None:
    disk = Disk()
    disk.is_free.clear()
    writer = Writer(disk.write)
    writer.put(point(1))
    reader, pipe = os.pipe()
    child = os.fork()
    if child == 0:  # pragma: no cover
        try:
            disk.is_free = threading.Event()
            disk.is_free.set()
            disk.points = []
            writer.put(point(2))
            is_written = writer.flush(TIMEOUT_S)
            os.write(pipe, f"{is_written} {numbers(disk)}".encode())
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    os.close(pipe)
    with os.fdopen(reader) as said:
        assert said.read() == "True [2.0]"
    disk.is_free.set()
    assert writer.close(TIMEOUT_S)
    assert numbers(disk) == [1.0]
