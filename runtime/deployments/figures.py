"""What a unit says of itself in numbers, for whoever shows them (runtime/controller_service)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

from runtime.hooks.listener import ChangeFigures


@dataclass(frozen=True, slots=True)
class UnitFigures:
    """``wanted``: replicas by revision; ``scale``: what all of the traffic needs; ``in_flight``:
    requests in all replicas, ``queue_s``: how long they need for them, on average, both as the
    replicas said last, and None where they are not asked."""

    wanted: Mapping[int, int] = field(default_factory=dict)
    scale: int = 0
    in_flight: float | None = None
    queue_s: float | None = None
    changes: ChangeFigures = field(default_factory=ChangeFigures)


@runtime_checkable
class Measured(Protocol):
    """A unit that has such numbers."""

    @property
    def figures(self) -> UnitFigures:
        """As of its last tick; any thread may ask."""
        ...
