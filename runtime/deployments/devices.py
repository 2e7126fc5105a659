"""A deployment on devices: declared here, and brought to them by the workspace's hub.

    unit = DeviceUnit("press", workspace.deployments, target, workspace.root)
    unit.tick(now_s, None)

It only reads and writes the hub's database; the hub, another process, does the steps and hears the
devices. There is no HAProxy before devices: whoever is beside one asks it.
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable
from pathlib import Path

import msgspec

from edge.errors import EdgeError, NotFoundError
from edge.hub.database import Database
from edge.hub.deployments import Deployments as HubDeployments
from edge.hub.rollouts import Rollouts
from edge.messages.desired import Module
from registry.clock import Clock, utc_now
from registry.deployments import Deployment, Deployments, Observed, Target
from runtime.balance.balancer import ServiceState
from runtime.deployments.condition import Condition, State
from runtime.deployments.device_module import layer_name, layer_of, module_of, policy_of
from runtime.deployments.fleet_plan import (
    Begin,
    DeviceMemory,
    PutLayer,
    Step,
    TakeBack,
    next_step,
    taken_up,
)
from runtime.deployments.fleet_reading import Fleet, read_fleet
from runtime.deployments.fleet_state import (
    device_rows,
    fleet_condition,
    is_other_traffic,
    shown_rows,
    traffic_of,
)
from runtime.deployments.hub import hub_of, why_silent

ACTOR = "controller"
KEEP_S = 5.0
"""How old what is kept may be where nothing changed."""
MOST_SHARE = 0.1
"""Of the time, for looking: thousands of devices take a while."""

logger = logging.getLogger("inferry.deployments")


class DeviceUnit:
    """The Unit of a target of the kind ``edge``. ``wall``: seconds since 1970."""

    service = None
    """Nothing for the balancer."""
    is_known = True

    def __init__(
        self,
        name: str,
        deployments: Deployments,
        target: Target,
        root: Path,
        *,
        clock: Clock = utc_now,
        wall: Callable[[], float] = time.time,
    ) -> None:
        """Raises HubError where the hub's database cannot be used."""
        self.name = name
        self.shown = ""
        self.is_gone = False
        self._deployments, self._target, self._root = deployments, target, root
        self._clock, self._wall = clock, wall
        self._database: Database = hub_of(root)
        self._memory: DeviceMemory | None = None
        self._kept: tuple[Observed, float] | None = None
        self._looked_up = -1
        """The declaration of which the goal was taken up."""
        self._next: tuple[int, float] = (-1, 0.0)

    def __repr__(self) -> str:
        return f"DeviceUnit({self.name}, {self.shown})"

    def close(self, timeout_s: float = 10.0) -> None:
        """Devices go on."""

    def tick(self, now_s: float, balanced: ServiceState | None, balancer_trouble: str = "") -> None:
        declared = self._deployments.get(self.name)
        if declared.change == self._next[0] and now_s < self._next[1]:
            return
        begun_s = time.monotonic()
        if self._memory is None:
            self._memory = _memory(declared)
        try:
            self._work(declared, now_s)
        except EdgeError as error:
            before = declared.observed
            state: State = "failed" if before is None or before.state == "failed" else "degraded"
            self._observe(declared, Condition(state, str(error)), None, now_s)
        self._next = declared.change, now_s + (time.monotonic() - begun_s) / MOST_SHARE

    def _work(self, declared: Deployment, now_s: float) -> None:
        if not declared.is_wanted:
            self._end(declared, now_s)
            return
        fleet = self._read()
        wanted = module_of(self.name, declared.revision(declared.goal), self._target)
        self._take_up(declared, wanted, fleet, now_s)
        assert self._memory is not None
        layer = layer_of(self.name, self._target, fleet.layer)
        step = next_step(wanted, layer, fleet, self._memory)
        if step is not None:
            self._do(step, declared)
            fleet = self._read()
        traffic = traffic_of(declared, wanted, fleet, self._memory)
        if is_other_traffic(declared, traffic):
            why = f"devices of the hub, revision {declared.goal}"
            declared = self._deployments.set_traffic(self.name, traffic, actor=ACTOR, why=why)
        rows = device_rows(declared, wanted, fleet)
        found = fleet_condition(
            declared, wanted, fleet, self._memory, rows, why_silent(self._root, self._wall())
        )
        self._observe(declared, found, fleet, now_s)

    def _read(self) -> Fleet:
        with self._database.reader() as connection:
            return read_fleet(connection, self.name, self._target.settings["condition"])

    def _wall_ms(self) -> int:
        return int(self._wall() * 1000)

    def _take_up(self, declared: Deployment, wanted: Module, fleet: Fleet, now_s: float) -> None:
        """Durable before anything is done: a controller that is killed begins no rollout twice."""
        assert self._memory is not None
        if declared.change == self._looked_up:
            return
        attempt = self._deployments.attempt(self.name)
        memory = taken_up(self._memory, declared, attempt, wanted, fleet)
        if memory != self._memory:
            self._memory = memory
            state: State = "updating" if memory.before else "starting"
            self._observe(declared, Condition(state, "the hub is being told"), fleet, now_s)
        self._looked_up = declared.change

    def _do(self, step: Step, declared: Deployment) -> None:
        by = f"deployment {self.name} ({declared.revision(declared.goal).made_by})"
        match step:
            case PutLayer(layer):
                HubDeployments(self._database, self._wall_ms).put(layer, by=by)
            case Begin(module):
                policy = policy_of(declared.service.rollout)
                Rollouts(self._database, self._wall_ms).start(
                    layer_name(self.name), self.name, by=by, spec=module, policy=policy
                )
            case TakeBack(rollout):
                reason = f"revision {declared.goal} is wanted again"
                Rollouts(self._database, self._wall_ms).roll_back(rollout, by=by, reason=reason)

    def _end(self, declared: Deployment, now_s: float) -> None:
        """A device that is offline hears of it when it comes: nobody waits for that."""
        with contextlib.suppress(NotFoundError):  # it was taken back already
            HubDeployments(self._database, self._wall_ms).delete(
                layer_name(self.name), by=f"deployment {self.name}", supersede=True
            )
        fleet = self._read()
        if not fleet.leftover:
            self._deployments.forget(self.name)
            self.is_gone = True
            return
        assert self._memory is not None
        goal = module_of(self.name, declared.revision(declared.goal), self._target)
        silent = why_silent(self._root, self._wall())
        found = fleet_condition(declared, goal, fleet, self._memory, (), silent)
        self._observe(declared, found, fleet, now_s)

    def _observe(
        self, declared: Deployment, found: Condition, fleet: Fleet | None, now_s: float
    ) -> None:
        """``fleet`` None: it could not be read, and what was known of devices stays."""
        self.shown = found.state if found.cause is None else f"{found.state}: {found.cause}"
        if fleet is None:
            rows = () if declared.observed is None else declared.observed.replicas
        else:
            goal = module_of(self.name, declared.revision(declared.goal), self._target)
            rows = shown_rows(device_rows(declared, goal, fleet))
        memory = msgspec.json.encode(self._memory).decode()
        seen = Observed(found.state, found.cause, None, declared.change, rows, "", memory)
        if self._kept is not None and self._kept[0] == seen and now_s - self._kept[1] < KEEP_S:
            return
        self._kept = seen, now_s
        self._deployments.observe(
            self.name,
            Observed(
                seen.state,
                seen.cause,
                None,
                seen.change,
                seen.replicas,
                self._clock(),
                seen.memory,
            ),
        )


def _memory(declared: Deployment) -> DeviceMemory:
    """An empty one for what cannot be read: then the hub says what there is."""
    text = "" if declared.observed is None else declared.observed.memory
    try:
        return msgspec.json.decode(text or "{}", type=DeviceMemory)
    except (msgspec.MsgspecError, ValueError):
        return DeviceMemory()
