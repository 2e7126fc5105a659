"""One request on its way through the queue and the engine."""

from __future__ import annotations

from bisect import insort
from collections import deque
from collections.abc import Callable, Hashable, Iterator
from enum import IntEnum
from typing import Any, Generic, TypeVar

from scoring.quarantine import essence, fingerprint

In = TypeVar("In")
Out = TypeVar("Out")

ORDINARY = 100
"""Level of a request that asks for none; lower numbers go first (Open Inference Protocol: 1 is the
highest priority)."""
MANY = 1000
"""Dropped requests that may lie in the line, besides as many as wait."""


class State(IntEnum):
    """Where a request is."""

    NEW = 0
    WAITING = 1
    RUNNING = 2
    DONE = 3


WAITING, RUNNING, DONE = State.WAITING, State.RUNNING, State.DONE
"""An enum's members are looked up slowly."""


class Work(Generic[In, Out]):
    """``done(work, answer)`` is called once, in the loop's thread, unless the request was dropped.

    ``key`` groups what can share a batch (input names, dtypes, trailing shapes; None: nothing can),
    ``rows`` is its share of it, ``deadline`` the monotonic second after which nobody wants the
    answer, ``body`` what the client sent (the fingerprint of an input that kills its process)."""

    # An instance holds only what differs from these.
    priority = ORDINARY
    deadline: float | None = None
    state = State.NEW
    alone = False
    """Never merged: it was in a batch that killed its process."""
    arrived = 0.0
    queue_s = 0.0
    run_s = 0.0
    batch_rows = 0
    name = b""
    """What besides the body makes the request what it is: its model, or its method and target."""

    def __init__(
        self,
        item: In,
        done: Callable[[Work[In, Out], Any], None],
        *,
        rows: int = 1,
        key: Hashable = None,
        deadline: float | None = None,
        priority: int = ORDINARY,
        body: bytes = b"",
        context: Any = None,
    ) -> None:
        self.item = item
        self.done = done
        self.rows = rows
        self.key = key
        self.body = body
        self.context = context
        if deadline is not None:
            self.deadline = deadline
        if priority != ORDINARY:
            self.priority = priority

    @property
    def essence(self) -> bytes:
        """What it is, bounded in length: for the flight recorder."""
        body = essence(self.body)
        return self.name + b"\n" + body if self.name else body

    @property
    def mark(self) -> bytes:
        """Its fingerprint, for the quarantine."""
        return fingerprint(self.essence)

    def forget(self) -> None:
        """Let go of what it holds; for one that is answered or dropped but may still be in line."""
        self.body = b""
        self.item = self.context = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"<Work {self.state.name} rows={self.rows}>"


class Line(Generic[In, Out]):
    """Waiting requests: by priority, then by arrival. What was dropped stays in place until its
    turn comes or there is much of it; ``waiting`` and ``rows`` do not count it."""

    def __init__(self) -> None:
        self._levels: dict[int, deque[Work[In, Out]]] = {}
        self._order: list[int] = []
        self._dropped = 0
        self.waiting = 0
        self.rows = 0

    def add(self, work: Work[In, Out], *, first: bool = False) -> None:
        """At the end of its level, or at its front."""
        level = self._levels.get(work.priority)
        if level is None:
            level = self._level(work.priority)
        work.state = WAITING
        if first:
            level.appendleft(work)
        else:
            level.append(work)
        self.waiting += 1
        self.rows += work.rows

    def _level(self, priority: int) -> deque[Work[In, Out]]:
        level = self._levels.get(priority)
        if level is None:
            level = self._levels[priority] = deque()
            insort(self._order, priority)
        return level

    def leave(self, work: Work[In, Out], state: State) -> None:
        """Count it out: it runs now, or is done."""
        work.state = state
        self.waiting -= 1
        self.rows -= work.rows

    def drop(self, work: Work[In, Out]) -> None:
        """Count it out from wherever it stands: it never runs."""
        self.leave(work, State.DONE)
        self._dropped += 1
        if self._dropped > MANY + self.waiting:  # clients that come and go must not fill the memory
            self._dropped = 0
            waiting = list(self)
            self._levels.clear()
            self._order.clear()
            for left in waiting:
                self._level(left.priority).append(left)

    def head(self) -> Work[In, Out] | None:
        """Whose turn it is."""
        at = 0
        while at < len(self._order):
            level = self._levels[self._order[at]]
            while level:
                if level[0].state == WAITING:
                    return level[0]
                level.popleft()
            if self._order[at] == ORDINARY:
                at += 1
            else:  # clients choose the numbers: those that nobody uses are forgotten
                del self._levels[self._order.pop(at)]
        return None

    def take(self, first: Work[In, Out], limit: int, depth: int) -> list[Work[In, Out]]:
        """``first`` (the head) and those behind it with its key, together at most ``limit`` rows;
        looks at no more than ``depth`` of its level. Nobody overtakes another of the same key. They
        are counted out, RUNNING."""
        level = self._levels[first.priority]
        level.popleft()
        batch, rows = [first], first.rows
        passed: list[Work[In, Out]] = []
        while level and rows < limit and len(passed) < depth:
            work = level[0]
            if work.state != WAITING:
                level.popleft()
            elif work.key == first.key:
                if work.alone or rows + work.rows > limit:
                    break
                level.popleft()
                batch.append(work)
                rows += work.rows
            else:
                passed.append(level.popleft())
        if passed:
            level.extendleft(reversed(passed))
        for work in batch:
            work.state = RUNNING
        self.waiting -= len(batch)
        self.rows -= rows
        return batch

    def __iter__(self) -> Iterator[Work[In, Out]]:
        for priority in self._order:
            yield from (w for w in self._levels[priority] if w.state == State.WAITING)

    def clear(self) -> list[Work[In, Out]]:
        """Everything that waits; nothing does any more."""
        waiting = list(self)
        for level in self._levels.values():
            level.clear()
        for work in waiting:
            self.leave(work, State.DONE)
        return waiting
