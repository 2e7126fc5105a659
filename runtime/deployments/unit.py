"""A deployment of replicas with HAProxy before them, brought from what is to what is declared.

    unit = ReplicaUnit("web", deployments, host)
    unit.tick(now_s, stats)       # each half second; blocking, so in a thread of its own
    unit.service                  # what the balancer shall do for it; None: nothing (any more)

What is decided is decided in course.py, fleet.py, evidence.py and condition.py; here is the order
in which it is asked and done.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import msgspec

from edge.errors import EdgeError
from edge.hosts.port import ModuleHost
from registry.clock import Clock, utc_now
from registry.deployments import Deployment, Deployments, Observed, Rollout
from registry.errors import RegistryError
from runtime.balance.balancer import ServiceState
from runtime.balance.declared import Service
from runtime.deployments.changes import Changes, Listener, Nobody
from runtime.deployments.condition import condition, noted
from runtime.deployments.course import Course, Readiness
from runtime.deployments.crew import Crew
from runtime.deployments.figures import UnitFigures
from runtime.deployments.fleet import ready_of, wanted_replicas
from runtime.deployments.front import Front
from runtime.deployments.instances import Instances
from runtime.deployments.memory import Memory, read_memory
from runtime.deployments.observation import Observation
from runtime.deployments.pages import Pages
from runtime.deployments.preparing import Preparing
from runtime.deployments.publication import url_of
from runtime.deployments.replicas import Replicas
from runtime.deployments.rollouts import Rollouts
from runtime.deployments.sampling import Sample
from runtime.deployments.scale import Scale, first_scale
from runtime.deployments.secret_files import SecretFiles
from runtime.deployments.witness import Witness


class ReplicaUnit:
    """The Unit of replicas on a host. Of one thread, but for ``service``, which any may read."""

    def __init__(
        self,
        name: str,
        deployments: Deployments,
        host: ModuleHost,
        *,
        sample: Sample | None = None,
        is_exclusive: Callable[[str], bool] = lambda digest: False,
        secret_files: SecretFiles | None = None,
        environ: Mapping[str, str] | None = None,
        address: str = "127.0.0.1",
        listener: Listener | None = None,
        clock: Clock = utc_now,
    ) -> None:
        """``is_exclusive``: whether the image of this digest needs a board, which one process has
        at a time; ``environ``: what the target adds to each replica's; ``address``: where they
        answer; ``listener``: is told of changes of scale."""
        self.name = name
        self.service: Service | None = None
        self.is_known = False
        self.shown = ""
        self.is_gone = False
        self._deployments = deployments
        self._needs_board, self._is_exclusive = is_exclusive, False
        self._replicas = Replicas(name, host)
        self._instances = Instances(
            name,
            deployments,
            environ=environ or {},
            address=address,
            secret_files=secret_files,
        )
        self._preparing = Preparing(host)
        self._crew = Crew(self._replicas, self._instances, self._preparing)
        self._pages, self._witness = Pages(), Witness()
        self._rollouts = Rollouts(name, deployments, self._witness, sample)
        self._listener = listener or Nobody()
        self._scale = Scale(name, deployments, Changes(name, self._listener))
        self.figures = UnitFigures()
        self._front = Front(name, deployments)
        self._observation = Observation(name, deployments, clock)
        self._memory = Memory()
        self._declared: Deployment
        """As it was read in this tick, with the traffic that the tick gave it."""
        self._last_s: float | None = None

    def __repr__(self) -> str:
        return f"ReplicaUnit({self.name}, {self._replicas})"

    def close(self, timeout_s: float = 10.0) -> None:
        """Its keepers; what runs goes on."""
        self._preparing.close()
        self._replicas.close(timeout_s)
        self._scale.close()
        self._listener.close()

    def tick(self, now_s: float, balanced: ServiceState | None, balancer_trouble: str = "") -> None:
        """See Unit."""
        self._declared = declared = self._deployments.get(self.name)
        if self._last_s is None and declared.observed is not None:
            self._memory = read_memory(declared.observed.memory)
            self._listener.remember(self._memory.hooks)
        tick_s = 0.0 if self._last_s is None else now_s - self._last_s
        self._last_s = now_s
        try:
            trouble = self._work(declared, tick_s, now_s, balanced)
        except EdgeError as error:
            trouble = str(error)
        trouble = trouble or balancer_trouble or None
        self._finish(self._declared, now_s, trouble, is_served=balanced is not None)

    def _work(
        self, declared: Deployment, tick_s: float, now_s: float, balanced: ServiceState | None
    ) -> str | None:
        """Returns what is wrong with replicas. Raises EdgeError where the host cannot be asked."""
        self.is_known = self._crew.adopt(declared, now_s) or self.is_known
        places = self._replicas.addresses()
        self._witness.count(balanced, places)
        pages = self._asked_pages(declared, now_s)
        self._is_exclusive = self._needs_board(declared.revision(declared.goal).digest)
        course = self._rollouts.course(declared, self._memory.course)
        held = 0 if balanced is None else balanced.held
        seen, kept = self._replicas.seen(), self._memory.scale
        scale = self._scale.now(declared, kept, seen, pages, held=held, now_s=now_s)
        wanted = wanted_replicas(declared, course, scale, is_exclusive=self._is_exclusive)
        self._crew.prepare(declared, wanted, now_s)
        if course is not None and not course.is_over and declared.is_wanted:
            rules = self._rules(declared)
            before, course = course, self._advanced(declared, course, rules, wanted, tick_s)
            self._declared = declared = self._rollouts.shifted(declared, course, rules)
            self._rollouts.note(before, course)
        self._memory = Memory(course, self._memory.port, scale)
        self._crew.act(
            declared,
            wanted,
            balanced,
            now_s,
            is_withdrawn=self.service is None,
            is_exclusive=self._is_exclusive,
        )
        return self._crew.trouble(wanted)

    def _asked_pages(self, declared: Deployment, now_s: float) -> Mapping[str, bytes | None] | None:
        """Where somebody wants to know: the scale, or a rollout's evidence."""
        service, course = declared.service, self._memory.course
        is_watched = course is not None and not course.is_over
        if service.least_replicas == service.most_replicas and not is_watched:
            return None
        places = self._replicas.addresses()
        pages = self._pages.asked({id: place[1:] for id, place in places.items()}, now_s)
        self._witness.read_pages(pages or {}, places)
        return pages

    def _rules(self, declared: Deployment) -> Rollout:
        """Where there is one replica at a time, it gets all of the traffic at once: clients wait
        meanwhile, held by the balancer."""
        rollout = declared.service.rollout
        return msgspec.structs.replace(rollout, steps=(100.0,)) if self._is_exclusive else rollout

    def _advanced(
        self,
        declared: Deployment,
        course: Course,
        rules: Rollout,
        wanted: Mapping[int, int],
        tick_s: float,
    ) -> Course:
        new, places = course.new, self._replicas.addresses()
        ready, trouble = ready_of(new, self._replicas.seen()), self._replicas.trouble(new)
        readiness = Readiness(ready, wanted.get(new, 0), trouble, self._crew.delay(new))
        if self._crew.is_preparing(new):
            tick_s = 0.0  # its time to start begins when it can
        return self._rollouts.advanced(declared, course, rules, readiness, places, tick_s)

    def _finish(
        self, declared: Deployment, now_s: float, trouble: str | None, *, is_served: bool
    ) -> None:
        try:
            self._open(declared)
        except (EdgeError, RegistryError) as error:
            trouble = trouble or str(error)  # what was open goes on
        seen = self._replicas.seen()
        if not declared.is_wanted:
            self._scale.stop(seen, now_s)
            if not seen and self._crew.is_adopted and trouble is None:
                self._forget()
                return
        if declared.is_wanted and declared.observed is not None and not self._crew.is_adopted:
            self._keep_unseen(declared, declared.observed, trouble, now_s)
            return
        scale = self._memory.scale
        scale = first_scale(declared.service) if scale is None else scale
        course, is_exclusive = self._memory.course, self._is_exclusive
        wanted = wanted_replicas(declared, course, scale, is_exclusive=is_exclusive)
        self._scale.look(wanted, seen, trouble, now_s)
        found = condition(declared, course, wanted, seen, trouble, is_served=is_served)
        found = noted(found, self._listener.waits(), self._scale.trouble)
        self.figures = self._figures(wanted, scale)
        self.shown = found.state if found.cause is None else f"{found.state}: {found.cause}"
        url, records = url_of(declared, self.service), self._replicas.records()
        self._observation.keep(
            Observed(found.state, found.cause, url, declared.change, records, ""),
            msgspec.structs.replace(self._memory, hooks=self._listener.notes()),
            now_s,
        )

    def _figures(self, wanted: Mapping[int, int], scale: int) -> UnitFigures:
        newest = self._scale.newest
        return UnitFigures(
            dict(wanted),
            scale,
            None if newest is None else newest.in_flight,
            None if newest is None else newest.drain_s,
            self._listener.figures(),
        )

    def _keep_unseen(
        self, declared: Deployment, before: Observed, trouble: str | None, now_s: float
    ) -> None:
        """Its host cannot be asked yet, and what an earlier controller left goes on meanwhile, as
        the balancer has it."""
        state = before.state if before.state in ("starting", "failed") else "degraded"
        self.shown = f"{state}: {trouble}"
        seen = Observed(state, trouble, before.url, declared.change, before.replicas, "")
        self._observation.keep(seen, self._memory, now_s)

    def _open(self, declared: Deployment) -> None:
        """What the balancer shall do from now on. Raises EdgeError or RegistryError, never for one
        that is deleted."""
        if not declared.is_wanted:
            self.service = None
            return
        port = self._front.port(declared, self._memory.port)
        if not declared.service.port:
            self._memory = Memory(self._memory.course, port, self._memory.scale)
        draining = {each.id for each in self._replicas.leaving()}
        places = self._replicas.addresses()
        self.service = self._front.service(declared, port, places, draining)

    def _forget(self) -> None:
        self._replicas.close()
        self._instances.forget()
        self._deployments.forget(self.name)
        self.is_gone = True
