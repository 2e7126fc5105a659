"""The server processes of one generation, as their supervisor sees them. No behaviour of its own.

A *generation* is what the processes serve: a model and its settings. A *fleet* is its processes, a
*seat* the place of one of them, which outlives the process that has it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Generic, TypeVar

from scoring.supervision.board import Life
from scoring.supervision.child_link import ChildLink
from scoring.supervision.restarts import Restarts

G = TypeVar("G")


@dataclass(slots=True, eq=False)
class Child(Generic[G]):
    """A server process that has not been reaped yet."""

    number: int
    """Never used again, unlike a process id."""
    pid: int
    life: Life
    link: ChildLink
    fleet: Fleet[G]
    seat: Seat[G]
    ready_at: float | None = None
    """When it was ready first."""
    is_leaving: bool = False
    """It was told to."""
    has_failed: bool = False
    """Its model did not load: it gives its connections back, and leaves."""
    was_killed: bool = False
    """By us."""
    asked_back: int = 0
    """Connections that it still should give back."""
    watched: int = 0
    """The events its link is registered for."""


@dataclass(slots=True, eq=False)
class Seat(Generic[G]):
    """Empty while its next process waits to be started."""

    child: Child[G] | None = None
    restarts: Restarts = field(default_factory=Restarts)


class Fleet(Generic[G]):
    """``size`` seats."""

    def __init__(self, number: int, generation: G, size: int) -> None:
        self.number = number
        self.generation = generation
        self.seats: list[Seat[G]] = [Seat() for _ in range(size)]

    @property
    def children(self) -> list[Child[G]]:
        """Those alive."""
        return [seat.child for seat in self.seats if seat.child is not None]

    @property
    def is_ready(self) -> bool:
        """Every seat has a process that was ready."""
        children = self.children
        return len(children) == len(self.seats) and all(child.ready_at for child in children)
