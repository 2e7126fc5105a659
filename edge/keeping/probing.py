"""What probes say of a module's health. Pure.

A module is starting until a probe succeeds. Within ``start_s`` of its start no failure counts;
later ``failures`` in a row make it unhealthy, one success makes it healthy again.

    state = Probing(started=now)
    if is_due(state, probe, now):
        state = after_probe(state, probe, error, now)      # error: None, or what was wrong
    health(state, probe), healthy_s(state, now)
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from edge.messages.desired import Probe
from edge.messages.reported import Health

STARTING_INTERVAL_S = 0.25
"""Of a module that has not answered yet: who waits for it wants to know soon."""


@dataclass(frozen=True, slots=True)
class Probing:
    """Times are of one monotonic clock. ``failures``: in a row that count; ``error``: of the last
    probe."""

    started: float
    probed: float | None = None
    failures: int = 0
    healthy_since: float | None = None
    has_answered: bool = False
    error: str | None = None


def is_due(state: Probing, probe: Probe, now: float) -> bool:
    """Whether to probe now."""
    return now >= due(state, probe)


def due(state: Probing, probe: Probe) -> float:
    """When to probe next."""
    if state.probed is None:
        return state.started
    interval_s = max(probe.interval_s, 0.01)
    return state.probed + (
        interval_s if state.has_answered else min(interval_s, STARTING_INTERVAL_S)
    )


def after_probe(state: Probing, probe: Probe, error: str | None, now: float) -> Probing:
    """``now``: when the probe ended."""
    if error is None:
        since = now if state.healthy_since is None else state.healthy_since
        return replace(
            state, probed=now, failures=0, healthy_since=since, has_answered=True, error=None
        )
    counts = now - state.started >= probe.start_s
    failures = state.failures + 1 if counts else 0
    is_over = failures >= max(probe.failures, 1)
    return replace(
        state,
        probed=now,
        failures=failures,
        healthy_since=None if is_over else state.healthy_since,
        error=error,
    )


def health(state: Probing, probe: Probe) -> Health:
    """As the probes so far say."""
    if state.failures >= max(probe.failures, 1):
        return "unhealthy"
    return "starting" if state.healthy_since is None else "healthy"


def healthy_s(state: Probing, now: float) -> float:
    """For how long, without a break; 0 when it is not."""
    return 0.0 if state.healthy_since is None else max(0.0, now - state.healthy_since)
