"""A deployment as it is declared, as it was seen, and as the controller has counted it. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from registry.deployments import Deployment
from runtime.balance.balancer import ServiceState
from runtime.deployments.figures import Glance, UnitFigures
from runtime.deployments.memory import read_memory

STATES = ("starting", "running", "updating", "degraded", "failed", "stopping", "unknown")


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """``wanted`` and ``ready``: replicas by revision; ``traffic``: parts of 1 by revision, without
    shadows; ``scale``: replicas that all of the traffic needs, as decided last; ``in_flight``:
    requests that replicas have, as the balancer sees them, ``held``: those for which there is no
    replica; ``tick_age_s``: since it was looked at. None is not known: nobody has looked at it,
    the balancer does not know it, or devices are no replicas."""

    name: str
    state: str
    scale: int | None
    least: int
    most: int
    target_in_flight: float
    wanted: Mapping[int, int] | None
    ready: Mapping[int, int]
    traffic: Mapping[int, float]
    in_flight: int | None = None
    held: int | None = None
    tick_age_s: float | None = None
    unit: UnitFigures = field(default_factory=UnitFigures)
    ticks: int = 0
    tick_seconds: float = 0.0
    is_alive: bool = True


def view(declared: Deployment, glance: Glance | None, now_s: float) -> View:
    """``now_s``: of the clock of the glance."""
    observed, service = declared.observed, declared.service
    state = "unknown" if observed is None else observed.state
    replicas = () if observed is None else observed.replicas
    scale = read_memory(None if observed is None else observed.memory).scale
    unit = None if glance is None else glance.unit
    balanced = None if glance is None else glance.balanced
    return View(
        name=declared.name,
        state=state,
        scale=scale if unit is None else unit.scale,
        least=service.least_replicas,
        most=service.most_replicas,
        target_in_flight=service.autoscale.in_flight,
        wanted=None if unit is None else unit.wanted,
        ready=Counter(each.revision for each in replicas if each.state == "ready"),
        traffic={s.revision: s.percent / 100 for s in declared.traffic if not s.is_shadow},
        in_flight=None if balanced is None else _in_flight(balanced),
        held=None if balanced is None else balanced.held,
        tick_age_s=None if glance is None else max(0.0, now_s - glance.ticks.since_s),
        unit=unit or UnitFigures(),
        ticks=0 if glance is None else glance.ticks.count,
        tick_seconds=0.0 if glance is None else glance.ticks.seconds,
        is_alive=glance is None or glance.ticks.is_alive,
    )


def _in_flight(balanced: ServiceState) -> int:
    """Those that wait for a full replica are on their way to one."""
    return sum(
        version.waiting + sum(each.in_flight for each in version.replicas)
        for version in balanced.versions
    )
