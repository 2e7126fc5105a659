"""The replicas of a deployment, brought to the number that is wanted of each revision.

crew = Crew(replicas, instances, preparing)
crew.adopt(declared, now_s)                       # what an earlier controller left
crew.prepare(declared, wanted, now_s)
crew.act(declared, wanted, balanced, now_s, is_withdrawn=False, is_exclusive=False)
crew.trouble(wanted)

What to do is decided in fleet.py, and when one has finished in draining.py.
"""

from __future__ import annotations

from collections.abc import Mapping

from edge.errors import EdgeError
from edge.hosts.port import Instance
from registry.deployments import Deployment, Health
from runtime.balance.balancer import ServiceState
from runtime.deployments.draining import is_idle
from runtime.deployments.fleet import Drain, Remove, Start, steps
from runtime.deployments.instances import Instances
from runtime.deployments.preparing import Preparing
from runtime.deployments.replicas import Replicas

GRACE_S = 35.0
"""For a replica's server, which drains by itself too, on SIGTERM."""
ADOPT_S = 10.0
"""For the keepers of replicas that were found to have looked at them."""


class Crew:
    """Of one deployment. Not for several threads at once."""

    def __init__(self, replicas: Replicas, instances: Instances, preparing: Preparing) -> None:
        self._replicas, self._instances, self._preparing = replicas, instances, preparing
        self._adopted_s: float | None = None
        self._delays: dict[int, str] = {}
        self._under_way: set[int] = set()
        self._lacks: dict[int, str] = {}

    def __repr__(self) -> str:
        return f"Crew({self._replicas})"

    @property
    def is_adopted(self) -> bool:
        """The host was asked what there is."""
        return self._adopted_s is not None

    def adopt(self, declared: Deployment, now_s: float) -> bool:
        """Find what an earlier controller left. Whether all of it has been looked at. Raises
        EdgeError where the host cannot be asked."""
        if self._adopted_s is None:
            before = () if declared.observed is None else declared.observed.replicas
            leaving = {each.id for each in before if each.state == "draining"}
            describe = self._instances.describe(declared) if declared.is_wanted else _nothing
            self._replicas.adopt(describe, leaving=leaving, now_s=now_s)
            self._adopted_s = now_s
        return self._replicas.are_seen() or now_s - self._adopted_s > ADOPT_S

    def prepare(self, declared: Deployment, wanted: Mapping[int, int], now_s: float) -> None:
        """The images of what is wanted; what one lacks is no other's affair."""
        self._delays, self._under_way = {}, set()
        for revision in wanted:
            digest = declared.revision(revision).digest
            is_doubted = self._replicas.is_in_trouble(revision)
            said = self._preparing.delay(digest, now_s, is_doubted=is_doubted)
            if said is not None:
                self._delays[revision] = said
            if self._preparing.is_under_way(digest):
                self._under_way.add(revision)

    def is_preparing(self, revision: int) -> bool:
        """Its image is made ready, which takes as long as it takes."""
        return revision in self._under_way

    def delay(self, revision: int) -> str | None:
        """What keeps replicas of it from starting; it may pass."""
        return self._lack(revision) or self._replicas.host_trouble(revision)

    def act(
        self,
        declared: Deployment,
        wanted: Mapping[int, int],
        balanced: ServiceState | None,
        now_s: float,
        *,
        is_withdrawn: bool,
        is_exclusive: bool,
    ) -> None:
        """Start, drain and stop. Who is to go from here on is stopped in a later tick: by then the
        record says so, and a next controller will not take it for one that is wanted."""
        for leaver in self._replicas.leaving():
            if is_idle(leaver, balanced, now_s, is_withdrawn=is_withdrawn):
                self._replicas.stop(leaver.id, GRACE_S)
        self._lacks = {}
        for step in steps(wanted, self._replicas.seen(), is_exclusive=is_exclusive):
            match step:
                case Start(revision):
                    self._start(declared, revision)
                case Drain(id) | Remove(id):
                    self._replicas.drain(id, now_s)

    def trouble(self, wanted: Mapping[int, int]) -> str | None:
        """What is wrong with those that are wanted, or with one that should go."""
        for revision in sorted(wanted):
            found = self._replicas.trouble(revision)
            if not (self.is_preparing(revision) and self._replicas.has(revision)):
                found = found or self.delay(revision)
            if found is not None:
                return found
        return self._replicas.stop_trouble() or self._replicas.host_trouble()

    def _lack(self, revision: int) -> str | None:
        return self._delays.get(revision) or self._lacks.get(revision)

    def _start(self, declared: Deployment, revision: int) -> None:
        if self._lack(revision) is not None:
            return
        try:
            instance, health = self._instances.describe(declared)(revision)
        except EdgeError as error:
            self._lacks[revision] = str(error)
            return
        self._replicas.start(revision, instance, health)


def _nothing(revision: int) -> tuple[Instance, Health]:
    """Of a deployment that is deleted: its secrets need not be had any more for it to go."""
    raise KeyError(revision)
