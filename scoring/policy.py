"""Decides what happens to a request: pure, synchronous, no clock of its own.

Admission: a request is let in while fewer than ``queue_limit`` wait; past that it is shed with the
time that the queue is expected to need (the number that Retry-After shows). Dispatch: the oldest
waiting requests run as soon as the engine has a free place; nothing ever waits on a timer.
"""

from __future__ import annotations

from dataclasses import dataclass

COST_WEIGHT = 0.1
"""Weight of the newest observation in the running mean of a request's cost."""
ASSUMED_COST_S = 0.1
"""Cost of one request before the first was measured."""


@dataclass(frozen=True, slots=True)
class Load:
    """What the policy looks at; ``slots`` includes the running ones.
    ``cost_s`` is the running mean of one request's time in the engine."""

    waiting: int
    running: int
    slots: int
    cost_s: float | None = None


@dataclass(frozen=True, slots=True)
class Shed:
    """The request is refused; waiting ones should be through in ``retry_after_s`` seconds."""

    retry_after_s: float


def admit(load: Load, *, queue_limit: int) -> Shed | None:
    """None when one more request may wait (or run), else why not."""
    if load.waiting < queue_limit:
        return None
    return Shed(drain_s(load))


def to_run(load: Load) -> int:
    """How many of the oldest waiting requests start now."""
    return max(0, min(load.waiting, load.slots - load.running))


def drain_s(load: Load) -> float:
    """Seconds until all that waits has been answered, with the places that are there now."""
    places = max(1, load.slots)
    cost_s = ASSUMED_COST_S if load.cost_s is None else load.cost_s
    return (load.waiting + load.running) * cost_s / places


def observe(cost_s: float | None, seen_s: float) -> float:
    """The running mean after one more request took ``seen_s`` seconds in the engine."""
    return seen_s if cost_s is None else cost_s + COST_WEIGHT * (seen_s - cost_s)
