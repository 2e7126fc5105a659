"""What a unit says of itself in numbers, for whoever shows them (runtime/controller_service)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

from runtime.balance.balancer import ServiceState
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


@dataclass(frozen=True, slots=True)
class TickFigures:
    """Of one deployment's thread. Times are of a monotonic clock; ``count`` and ``seconds`` are of
    ticks that ended; ``since_s``: when the last one ended, or the thread began."""

    since_s: float
    count: int = 0
    seconds: float = 0.0
    is_alive: bool = True


@dataclass(frozen=True, slots=True)
class Glance:
    """One deployment as the controller has it. ``balanced``: None where the balancer does not know
    it; ``unit``: None for one that says no numbers."""

    ticks: TickFigures
    unit: UnitFigures | None = None
    balanced: ServiceState | None = None


@dataclass(frozen=True, slots=True)
class ControllerFigures:
    """``began_s`` and ``balanced_s`` (when the balancer was seen to last) by a monotonic clock."""

    began_s: float
    balanced_s: float
    haproxy_restarts: int = 0
    deployments: Mapping[str, Glance] = field(default_factory=dict)
