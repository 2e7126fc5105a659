"""One deployment: brought from what is to what is declared, a tick at a time.

    unit = Unit("web", deployments, host)
    unit.tick(now_s, stats)       # each half second; blocking, so in a thread of its own
    unit.service                  # what the balancer shall do for it; None: nothing (any more)

What is decided is decided in course.py, fleet.py, evidence.py and condition.py.
"""

from __future__ import annotations

import logging
import socket
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import msgspec

from edge.errors import EdgeError
from edge.hosts.port import Instance, ModuleHost
from registry.clock import Clock, utc_now
from registry.deployments import Deployment, Deployments, Health, Observed, Rollout, Share
from registry.errors import RegistryError
from runtime.balance.balancer import ServiceState
from runtime.balance.declared import Health as BalanceHealth
from runtime.balance.declared import Keys, Replica, Service, Version, key_digest_of
from runtime.deployments.condition import Condition, condition
from runtime.deployments.course import Course, Readiness, advanced, begun, shares
from runtime.deployments.fleet import (
    Drain,
    Remove,
    Seen,
    Start,
    ready_of,
    steps,
    wanted_replicas,
)
from runtime.deployments.memory import Memory, memory_text, read_memory
from runtime.deployments.replicas import Replicas, instance_of
from runtime.deployments.tally import Reading, Tally, begun_anew, counted

ACTOR = "controller"
DRAIN_S = 30.0
"""For what a replica has begun, once it gets no more requests."""
QUIET_S = 1.0
"""For the balancer to have heard that it shall send nothing more."""
GRACE_S = 35.0
"""Of its server, which drains by itself too, on SIGTERM."""
KEEP_S = 5.0
"""How old what is kept of a deployment may be where nothing but times changed."""
Sample = Callable[[int, str, str, int], str | None]
"""Asks a new replica of a revision and its digest, at address and port, what its image knows the
answer to; returns what is wrong."""

logger = logging.getLogger("inferry.deployments")


@dataclass(slots=True)
class _Draining:
    """``quiet_s``: when it was first seen without a request."""

    since_s: float


class Unit:
    """Of one thread, but for ``service``, which any may read."""

    def __init__(
        self,
        name: str,
        deployments: Deployments,
        host: ModuleHost,
        *,
        sample: Sample | None = None,
        is_exclusive: Callable[[str], bool] = lambda digest: False,
        clock: Clock = utc_now,
    ) -> None:
        """``is_exclusive``: whether the image of this digest needs a board, which one process has
        at a time."""
        self.name = name
        self.service: Service | None = None
        self.shown = ""
        """How it is, as one line for people."""
        self.is_gone = False
        """It is deleted, and nothing of it runs any more."""
        self._deployments, self._host, self._clock = deployments, host, clock
        self._sample, self._needs_board = sample, is_exclusive
        self._is_exclusive = False
        self._replicas = Replicas(name, host)
        self._memory: Memory | None = None
        self._tally = Tally()
        self._draining: dict[str, _Draining] = {}
        self._prepared: set[str] = set()
        self._sampled: dict[int, str | None] = {}
        self._last_s: float | None = None
        self._kept: tuple[Observed, float] | None = None
        self._keys: tuple[int, Keys] | None = None
        self._was_adopted = False

    def __repr__(self) -> str:
        return f"Unit({self.name}, {self._replicas})"

    def close(self) -> None:
        """Its keepers; what runs goes on."""
        self._replicas.close()

    def tick(self, now_s: float, balanced: ServiceState | None, balancer_trouble: str = "") -> None:
        """``now_s`` by a monotonic clock; ``balanced``: as the balancer sees it, None where it does
        not. Raises RegistryError where the workspace cannot be read or written."""
        declared = self._deployments.get(self.name)
        tick_s = 0.0 if self._last_s is None else now_s - self._last_s
        self._last_s = now_s
        if self._memory is None:
            seen = declared.observed
            self._memory = read_memory(None if seen is None else seen.memory)
        try:
            trouble = self._work(declared, tick_s, now_s, balanced)
        except EdgeError as error:
            trouble = str(error)
        self._finish(
            declared, now_s, trouble or balancer_trouble or None, is_served=balanced is not None
        )

    def _work(
        self, declared: Deployment, tick_s: float, now_s: float, balanced: ServiceState | None
    ) -> str | None:
        """Returns what is wrong with a replica."""
        assert self._memory is not None
        if not self._was_adopted:
            self._replicas.adopt(self._describe(declared))
            self._was_adopted = True
        self._count(balanced)
        self._is_exclusive = self._needs_board(declared.revision(declared.goal).digest)
        course = self._course(declared)
        scale = self._scale(declared)
        wanted = wanted_replicas(declared, course, scale, is_exclusive=self._is_exclusive)
        for revision in wanted:
            self._prepare(declared.revision(revision).digest)
        seen = self._replicas.seen()
        if course is not None and not course.is_over:
            course = self._advance(declared, course, wanted, seen, tick_s)
        self._memory = Memory(course, self._memory.port, scale)
        self._shift(declared, course)
        self._act(declared, wanted, seen, now_s, balanced)
        return next(
            (said for revision in sorted(wanted) if (said := self._replicas.trouble(revision))),
            None,
        )

    # The course.

    def _course(self, declared: Deployment) -> Course | None:
        assert self._memory is not None
        course = self._memory.course
        if not declared.is_wanted:
            return course
        is_live = declared.traffic == (Share(declared.goal, 100.0),)
        if course is not None and course.new == declared.goal:
            return course
        if is_live:
            return None
        self._tally = begun_anew(self._tally)
        self._sampled.pop(declared.goal, None)
        return begun(declared.goal, declared.traffic)

    def _advance(
        self,
        declared: Deployment,
        course: Course,
        wanted: Mapping[int, int],
        seen: Sequence[Seen],
        tick_s: float,
    ) -> Course:
        ready, needed = ready_of(course.new, seen), wanted.get(course.new, 0)
        trouble = self._replicas.trouble(course.new)
        if trouble is None and ready and course.phase == "preparing":
            trouble = self._sampled_trouble(declared, course.new)
        settings = declared.revision(course.new).settings
        after = advanced(
            course,
            self._rollout(declared),
            settings.health.start_s,
            tick_s,
            Readiness(ready, needed, trouble),
            self._tally.answers(*(revision for revision, _ in course.before)),
            self._tally.answers(course.new),
        )
        if after.phase != course.phase and after.phase in ("finished", "taken back"):
            detail = {"revision": after.new, "cause": after.cause}
            self._deployments.note(self.name, f"rollout {after.phase}", detail, actor=ACTOR)
        return after

    def _sampled_trouble(self, declared: Deployment, revision: int) -> str | None:
        """Asked once of a revision, of its first replica that answers."""
        if self._sample is None:
            return None
        if revision not in self._sampled:
            for found, address, port in self._replicas.addresses().values():
                if found == revision:
                    digest = declared.revision(revision).digest
                    self._sampled[revision] = self._sample(revision, digest, address, port)
                    break
        return self._sampled.get(revision)

    def _shift(self, declared: Deployment, course: Course | None) -> None:
        """The traffic as the course has it, in the record and the ledger."""
        if course is None or not declared.is_wanted:
            return
        wanted = shares(course, self._rollout(declared))
        shadows = tuple(
            share
            for share in declared.traffic
            if share.is_shadow and share.revision not in {each.revision for each in wanted}
        )
        if wanted and (*wanted, *shadows) != declared.traffic:
            why = course.cause or f"rollout of revision {course.new}: {course.phase}"
            self._deployments.set_traffic(self.name, [*wanted, *shadows], actor=ACTOR, why=why)

    def _rollout(self, declared: Deployment) -> Rollout:
        """Where there is one replica at a time, it gets all of the traffic at once: clients wait
        meanwhile, held by the balancer."""
        rollout = declared.service.rollout
        return msgspec.structs.replace(rollout, steps=(100.0,)) if self._is_exclusive else rollout

    def _scale(self, declared: Deployment) -> int:
        service = declared.service
        assert self._memory is not None
        scale = self._memory.scale
        if scale is None:
            scale = max(service.least_replicas, 1)
        return min(max(scale, service.least_replicas), service.most_replicas)

    # Replicas.

    def _act(
        self,
        declared: Deployment,
        wanted: Mapping[int, int],
        seen: Sequence[Seen],
        now_s: float,
        balanced: ServiceState | None,
    ) -> None:
        for step in steps(wanted, seen, is_exclusive=self._is_exclusive):
            match step:
                case Start(revision):
                    instance, health = self._describe(declared)(revision)
                    self._replicas.start(revision, instance, health)
                case Drain(id):
                    self._replicas.drain(id)
                    self._draining[id] = _Draining(now_s)
                case Remove(id):
                    self._replicas.remove(id, GRACE_S)
        for id, draining in list(self._draining.items()):
            if self._is_idle(id, balanced, now_s - draining.since_s):
                self._replicas.remove(id, GRACE_S)
                del self._draining[id]

    def _is_idle(self, id: str, balanced: ServiceState | None, since_s: float) -> bool:
        if since_s >= DRAIN_S:
            return True
        place = self._replicas.addresses().get(id)
        if place is None:
            return True
        if balanced is None:  # withdrawn, or the balancer is away: then the time decides
            return self.service is None and since_s > QUIET_S
        for version in balanced.versions:
            for each in version.replicas:
                if each.replica.place == place[1:]:
                    # It was told to send nothing more, and nothing is left.
                    return each.server.admin != "ready" and each.in_flight == 0
        return since_s > QUIET_S  # it does not know the replica any more

    def _describe(self, declared: Deployment) -> Callable[[int], tuple[Instance, Health]]:
        def describe(number: int) -> tuple[Instance, Health]:
            revision = declared.revision(number)
            return instance_of(revision), revision.settings.health

        return describe

    def _prepare(self, digest: str) -> None:
        if digest not in self._prepared:
            self._host.prepare(digest, lambda: False)
            self._prepared.add(digest)

    # The balancer.

    def _count(self, balanced: ServiceState | None) -> None:
        if balanced is None:
            return
        revisions = {
            (address, port): revision
            for revision, address, port in self._replicas.addresses().values()
        }
        self._tally = counted(
            self._tally,
            {
                each.server.key: Reading(
                    revisions[each.replica.place],
                    each.server.requests,
                    each.server.answers_5xx
                    + each.server.failed_connections
                    + each.server.failed_answers,
                )
                for version in balanced.versions
                for each in version.replicas
                if each.replica.place in revisions
            },
        )

    def _service_of(self, declared: Deployment) -> Service | None:
        """None while nothing has traffic."""
        assert self._memory is not None
        live = [share for share in declared.traffic if not share.is_shadow]
        if not live or not declared.is_wanted:
            return None
        service, port = declared.service, declared.service.port or self._memory.port
        if not port:
            port = _free_port(service.host)
            self._memory = Memory(self._memory.course, port, self._memory.scale)
        places = self._replicas.addresses()
        versions = []
        for share in live:
            replicas = tuple(
                Replica(address, number, is_draining=self._is_draining(id))
                for id, (revision, address, number) in sorted(places.items())
                if revision == share.revision
            )
            name = f"r{share.revision}"
            versions.append(Version(name, max(1, round(share.percent * 100)), replicas))
        # Those that drain and have no share any more still finish.
        for revision in sorted({each for each, _, _ in places.values()}):
            if revision not in {share.revision for share in live}:
                replicas = tuple(
                    Replica(address, number, is_draining=True)
                    for id, (found, address, number) in sorted(places.items())
                    if found == revision and self._is_draining(id)
                )
                if replicas:
                    versions.append(Version(f"r{revision}", 0, replicas))
        health = declared.revision(live[0].revision).settings.health
        return Service(
            self.name,
            port,
            tuple(versions),
            _address(service.host),
            self._keys_of(declared) if service.is_keyed else None,
            service.tls_certificate,
            service.sticky_header,
            health=BalanceHealth(interval_s=max(0.05, min(0.5, health.interval_s))),
        )

    def _is_draining(self, id: str) -> bool:
        return id in self._draining

    def _keys_of(self, declared: Deployment) -> Keys:
        """Opened again only when something changed."""
        if self._keys is None or self._keys[0] != declared.change:
            found = self._deployments.keys(self.name)
            keys = Keys(key_digest_of(found["primary"]), key_digest_of(found["secondary"]))
            self._keys = declared.change, keys
        return self._keys[1]

    # What is kept.

    def _finish(
        self, declared: Deployment, now_s: float, trouble: str | None, *, is_served: bool
    ) -> None:
        declared = self._deployments.get(self.name)  # with the traffic of this tick
        assert self._memory is not None
        self.service = self._service_of(declared)
        seen = self._replicas.seen()
        if not declared.is_wanted and not seen and self._was_adopted and trouble is None:
            self._replicas.close()
            self._deployments.forget(self.name)
            self.is_gone = True
            return
        course = self._memory.course
        wanted = wanted_replicas(
            declared, course, self._scale(declared), is_exclusive=self._is_exclusive
        )
        found = condition(declared, course, wanted, seen, trouble, is_served=is_served)
        self.shown = found.state if found.cause is None else f"{found.state}: {found.cause}"
        self._observe(declared, found, now_s)

    def _observe(self, declared: Deployment, found: Condition, now_s: float) -> None:
        assert self._memory is not None
        url = None
        if self.service is not None:
            scheme = "https" if self.service.certificate else "http"
            host = declared.service.host
            shown = f"[{host}]" if ":" in host else host
            url = f"{scheme}://{shown}:{self.service.port}/score"
        observed = Observed(
            found.state,
            found.cause,
            url,
            declared.change,
            self._replicas.records({}),
            "",
            memory_text(_without_times(self._memory)),
        )
        is_known = self._kept is not None and self._kept[0] == observed
        age_s = 0.0 if self._kept is None else now_s - self._kept[1]
        if is_known and age_s < KEEP_S and not self._is_shifting():
            return
        self._kept = observed, now_s
        kept = Observed(
            observed.state,
            observed.cause,
            observed.url,
            observed.change,
            observed.replicas,
            self._clock(),
            memory_text(self._memory),
        )
        try:
            self._deployments.observe(self.name, kept)
        except RegistryError as error:
            logger.warning("%s: what was seen is not kept: %s", self.name, error)

    def _is_shifting(self) -> bool:
        course = self._memory.course if self._memory is not None else None
        return course is not None and not course.is_over


def _without_times(memory: Memory) -> Memory:
    """For comparison."""
    course = memory.course
    if course is None:
        return memory
    return Memory(
        Course(course.new, course.before, course.phase, course.step, cause=course.cause),
        memory.port,
        memory.scale,
    )


def _address(host: str) -> str:
    """Of a name, its first address. Raises EdgeError where it has none."""
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except OSError:
        raise EdgeError(f"the host {host} has no address") from None
    return str(found[0][4][0])


def _free_port(host: str) -> int:
    """One that nothing listens on now. Raises EdgeError."""
    try:
        address = _address(host)
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.bind((address, 0))
            return int(probe.getsockname()[1])
    except OSError as error:
        raise EdgeError(f"no port can be had on {host}: {error.strerror}") from None
