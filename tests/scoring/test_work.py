"""The line of waiting requests, against a plain list."""

from __future__ import annotations

import gc
import weakref
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from scoring.work import MANY, ORDINARY, Line, State, Work


def _work(item: int = 0, **options: Any) -> Work[int, int]:
    return Work(item, lambda work, answer: None, **options)


def _filled(*works: Work[int, int]) -> Line[int, int]:
    line: Line[int, int] = Line()
    for work in works:
        line.add(work)
    return line


def _taken(line: Line[int, int], limit: int, depth: int = 256) -> list[int]:
    head = line.head()
    assert head is not None
    works = line.take(head, limit, depth)
    assert all(work.state == State.RUNNING for work in works)
    return [work.item for work in works]


def test_requests_of_one_key_go_together_up_to_the_limit_in_order() -> None:
    line = _filled(*(_work(n, key="a") for n in range(5)))
    assert _taken(line, 3) == [0, 1, 2]
    assert _taken(line, 3) == [3, 4]
    assert line.head() is None
    assert (line.waiting, line.rows) == (0, 0)


def test_rows_count_not_requests() -> None:
    line = _filled(*(_work(n, key="a", rows=rows) for n, rows in enumerate((3, 4, 1, 9))))
    assert line.rows == 17
    assert _taken(line, 8) == [0, 1, 2]
    assert _taken(line, 8) == [3], "a request of more rows than the limit is not split"


def test_one_that_does_not_fit_is_not_overtaken_by_a_smaller_one_of_its_key() -> None:
    line = _filled(*(_work(n, key="a", rows=rows) for n, rows in enumerate((3, 6, 1))))
    assert _taken(line, 8) == [0]
    assert _taken(line, 8) == [1, 2]


def test_other_keys_keep_their_places() -> None:
    line = _filled(*(_work(n, key=key) for n, key in enumerate("abacab")))
    assert _taken(line, 8) == [0, 2, 4]
    assert [work.item for work in line] == [1, 3, 5]
    assert _taken(line, 8) == [1, 5]
    assert _taken(line, 8) == [3]


def test_the_search_ends_after_so_many_others() -> None:
    line = _filled(*(_work(n, key=key) for n, key in enumerate("abbba")))
    assert _taken(line, 8, depth=2) == [0]
    assert [work.item for work in line] == [1, 2, 3, 4]


def test_one_that_must_run_alone_is_neither_merged_nor_overtaken() -> None:
    suspect = _work(1, key="a")
    suspect.alone = True
    line = _filled(_work(0, key="a"), suspect, _work(2, key="a"))
    assert _taken(line, 8) == [0]
    assert _taken(line, 1) == [1]
    assert _taken(line, 8) == [2]


def test_lower_numbers_go_first_and_levels_do_not_mix() -> None:
    line = _filled(
        _work(0, key="a"), _work(1, key="a", priority=1), _work(2, key="a"), _work(3, priority=200)
    )
    assert ORDINARY == 100
    assert _taken(line, 8) == [1]
    assert _taken(line, 8) == [0, 2]
    assert _taken(line, 8) == [3]


def test_levels_that_nobody_uses_any_more_are_forgotten() -> None:
    line: Line[int, int] = Line()
    for priority in range(1000, 6000):
        line.add(_work(priority, priority=priority))
        assert _taken(line, 1) == [priority]
    assert line.head() is None
    assert len(line._levels) <= 1


def test_what_was_dropped_is_not_found_and_does_not_pile_up() -> None:
    line = _filled(_work(-1, key="a"))
    for number in range(5 * MANY):
        gone = _work(number, key="a", priority=50 + number % 200)
        line.add(gone)
        line.drop(gone)
    assert line.waiting == 1
    assert sum(map(len, line._levels.values())) <= MANY + 2
    assert _taken(line, 8) == [-1]
    assert line.head() is None


def test_one_that_is_forgotten_holds_nothing_though_it_is_still_in_line() -> None:
    class Body(bytes):
        """Bytes that can be watched."""

    class Held:
        """A client's connection."""

    held, body = Held(), Body(b"x" * 1000)
    seen = weakref.ref(held)
    work = _work(1, context=held, body=body)
    line = _filled(_work(0), work)
    line.drop(work)
    work.forget()
    del held
    gc.collect()
    assert seen() is None
    assert work.body == b""


def test_clearing_gives_everything_that_waits() -> None:
    line = _filled(_work(0), _work(1, priority=1), _work(2))
    gone = _work(3)
    line.add(gone)
    line.drop(gone)
    assert [work.item for work in line.clear()] == [1, 0, 2]
    assert (line.waiting, line.rows, line.head()) == (0, 0, None)


class Lines(RuleBasedStateMachine):
    """Against lists sorted by priority and arrival."""

    def __init__(self) -> None:
        super().__init__()
        self.line: Line[int, int] = Line()
        self.waiting: list[Work[int, int]] = []
        self.number = 0

    @rule(
        key=st.sampled_from("ab"),
        rows=st.integers(1, 5),
        priority=st.sampled_from([1, ORDINARY, 300]),
        first=st.booleans(),
        alone=st.booleans(),
    )
    def add(self, key: str, rows: int, priority: int, first: bool, alone: bool) -> None:
        self.number += 1
        work = _work(self.number, key=key, rows=rows, priority=priority)
        work.alone = alone
        self.line.add(work, first=first)
        level = [n for n, other in enumerate(self.waiting) if other.priority <= priority]
        before = [n for n, other in enumerate(self.waiting) if other.priority < priority]
        place = len(before) if first else len(level)
        self.waiting.insert(place, work)

    @precondition(lambda self: self.waiting)
    @rule(which=st.integers(0, 100))
    def drop(self, which: int) -> None:
        self.line.drop(self.waiting.pop(which % len(self.waiting)))

    @precondition(lambda self: self.waiting)
    @rule(limit=st.integers(1, 12))
    def take(self, limit: int) -> None:
        head = self.line.head()
        assert head is self.waiting[0]
        if head.alone:
            limit = 1
        taken = self.line.take(head, limit, 1000)
        assert all(work.state == State.RUNNING for work in taken)
        assert len(taken) == 1 or sum(work.rows for work in taken) <= limit
        assert len(taken) == 1 or not any(work.alone for work in taken)
        alike = [w for w in self.waiting if (w.key, w.priority) == (head.key, head.priority)]
        assert taken == alike[: len(taken)], "somebody was overtaken"
        self.waiting = [work for work in self.waiting if work not in taken]

    @invariant()
    def the_counts_and_the_order_are_right(self) -> None:
        assert list(self.line) == self.waiting
        assert self.line.waiting == len(self.waiting)
        assert self.line.rows == sum(work.rows for work in self.waiting)


Lines.TestCase.settings = settings(max_examples=20, stateful_step_count=25)
test_lines = pytest.mark.slow(Lines.TestCase)
