"""One deployment: brought from what is to what is declared, a tick at a time.

    unit = Unit("web", deployments, host)
    unit.tick(now_s, stats)       # each half second; blocking, so in a thread of its own
    unit.service                  # what the balancer shall do for it; None: nothing (any more)

What is decided is decided in course.py, fleet.py, evidence.py and condition.py.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import msgspec

from edge.errors import EdgeError
from edge.hosts.port import Instance, ModuleHost
from registry.clock import Clock, utc_now
from registry.deployments import Deployment, Deployments, Health, Observed, Revision, Rollout, Share
from registry.errors import RegistryError
from runtime.balance.balancer import ServiceState
from runtime.balance.declared import Keys, Service, key_digest_of
from runtime.deployments.condition import Condition, condition
from runtime.deployments.course import Course, Readiness, advanced, begun, shares
from runtime.deployments.evidence import Answers
from runtime.deployments.fleet import (
    Drain,
    Remove,
    Seen,
    Start,
    ready_of,
    steps,
    wanted_replicas,
)
from runtime.deployments.latency import Latency, beyond, threshold_s, with_pages
from runtime.deployments.latency import begun_anew as latency_anew
from runtime.deployments.memory import Memory, memory_text, read_memory
from runtime.deployments.pages import fetched_all
from runtime.deployments.publication import free_port, service_of, url_of
from runtime.deployments.replicas import Replicas, instance_of
from runtime.deployments.scaling import Scaler
from runtime.deployments.secret_files import SecretFiles
from runtime.deployments.tally import Reading, Tally, begun_anew, counted

ACTOR = "controller"
DRAIN_S = 30.0
"""For what a replica has begun, once it gets no more requests."""
QUIET_S = 1.0
"""For the balancer to have heard that it shall send nothing more."""
GRACE_S = 35.0
"""Of its server, which drains by itself too, on SIGTERM."""
ADOPT_S = 10.0
"""For the keepers of replicas that were found to have looked at them."""
PAGES_S = 1.0
"""How often replicas are asked for their numbers."""
KEEP_S = 5.0
"""How old what is kept of a deployment may be where nothing but times changed."""
Sample = Callable[[int, str, str, int], str | None]
"""Asks a new replica of a revision and its digest, at address and port, what its image knows the
answer to; returns what is wrong."""

logger = logging.getLogger("inferry.deployments")


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
        secret_files: SecretFiles | None = None,
        environ: Mapping[str, str] | None = None,
        clock: Clock = utc_now,
    ) -> None:
        """``is_exclusive``: whether the image of this digest needs a board, which one process has
        at a time; ``environ``: what the target adds to each replica's."""
        self.name = name
        self.service: Service | None = None
        self.is_known = False
        """What an earlier controller left has been found and looked at: before that ``service``
        would take it out of the traffic."""
        self.shown = ""
        """How it is, as one line for people."""
        self.is_gone = False
        """It is deleted, and nothing of it runs any more."""
        self._deployments, self._host, self._clock = deployments, host, clock
        self._sample, self._needs_board = sample, is_exclusive
        self._is_exclusive = False
        self._secret_files, self._environ = secret_files, dict(environ or {})
        self._replicas = Replicas(name, host)
        self._memory: Memory | None = None
        self._tally = Tally()
        self._scaler = Scaler()
        self._latency = Latency()
        self._pages: dict[str, bytes | None] = {}
        self._has_new_pages = False
        self._asked_s: float | None = None
        self._draining: dict[str, float] = {}
        """Since when, by id."""
        self._prepared: set[str] = set()
        self._sampled: dict[int, str | None] = {}
        self._last_s: float | None = None
        self._kept: tuple[Observed, float] | None = None
        self._keys: tuple[int, Keys] | None = None
        self._was_adopted = False
        self._adopted_s = 0.0

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
            self._was_adopted, self._adopted_s = True, now_s
        if not self.is_known:
            self.is_known = self._replicas.are_seen() or now_s - self._adopted_s > ADOPT_S
        self._count(balanced)
        self._ask_pages(declared, now_s)
        self._is_exclusive = self._needs_board(declared.revision(declared.goal).digest)
        course = self._course(declared)
        scale = self._scaled(declared, balanced, now_s)
        wanted = wanted_replicas(declared, course, scale, is_exclusive=self._is_exclusive)
        for revision in wanted:
            self._prepare(declared.revision(revision).digest)
        seen = self._replicas.seen()
        is_active = course is not None and not course.is_over
        if course is not None and is_active:
            course = self._advance(declared, course, wanted, seen, tick_s)
        self._memory = Memory(course, self._memory.port, scale)
        if course is not None and is_active:
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
        self._latency = latency_anew(self._latency)
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
            self._answers_of_new(declared, course),
        )
        if after.phase != course.phase and after.phase in ("finished", "taken back"):
            detail = {"revision": after.new, "cause": after.cause}
            self._deployments.note(self.name, f"rollout {after.phase}", detail, actor=ACTOR)
        return after

    def _answers_of_new(self, declared: Deployment, course: Course) -> Answers:
        found = self._tally.answers(course.new)
        old = self._latency.of(*(revision for revision, _ in course.before))
        too_slow_s = threshold_s(old, declared.service.rollout.max_p99_ratio)
        if too_slow_s is None:
            return found
        slow = beyond(self._latency.of(course.new), too_slow_s)
        return replace(found, slow=min(slow, found.requests))

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

    def _shift(self, declared: Deployment, course: Course) -> None:
        """The traffic as the course has it, in the record and the ledger. Once it is over, people
        may split the traffic otherwise."""
        if not declared.is_wanted:
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

    def _scaled(self, declared: Deployment, balanced: ServiceState | None, now_s: float) -> int:
        """What is wanted from now on."""
        scale, service = self._scale(declared), declared.service
        is_fixed = service.least_replicas == service.most_replicas
        if is_fixed or not declared.is_wanted or not self._has_new_pages:
            return scale
        held = 0 if balanced is None else balanced.held
        decision = self._scaler.decided(
            service,
            self._replicas.seen(),
            self._pages,
            held=held,
            scale=scale,
            now_s=now_s,
        )
        if decision.replicas != scale:
            detail = {"from": scale, "to": decision.replicas, "why": decision.why}
            self._deployments.note(self.name, "scaled", detail, actor=ACTOR)
        return decision.replicas

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
                    self._draining[id] = now_s
                case Remove(id):
                    self._replicas.remove(id, GRACE_S)
        for id, since_s in list(self._draining.items()):
            if self._is_idle(id, balanced, now_s - since_s):
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
            instance = instance_of(revision)
            return replace(
                instance,
                env={**self._environ, **instance.env},
                secrets_folder=self._secrets(revision),
            ), revision.settings.health

        return describe

    def _secrets(self, revision: Revision) -> Path | None:
        """Its secrets as they are now, for whoever starts from here on. Raises EdgeError."""
        if not revision.settings.secrets or self._secret_files is None:
            return None
        try:
            values = self._deployments.secrets(self.name)
        except RegistryError as error:
            raise EdgeError(str(error)) from error
        return self._secret_files.written(
            self.name, revision.number, revision.settings.secrets, values
        )

    def _prepare(self, digest: str) -> None:
        if digest not in self._prepared:
            self._host.prepare(digest, lambda: False)
            self._prepared.add(digest)

    # The balancer and the replicas' pages.

    def _ask_pages(self, declared: Deployment, now_s: float) -> None:
        """Where somebody wants to know: the scale, or a rollout's evidence."""
        assert self._memory is not None
        service, course = declared.service, self._memory.course
        is_scaled = service.least_replicas != service.most_replicas
        is_watched = course is not None and not course.is_over
        is_due = self._asked_s is None or not 0 <= now_s - self._asked_s < PAGES_S
        self._has_new_pages = is_due and (is_scaled or is_watched)
        if not self._has_new_pages:
            return
        self._asked_s = now_s
        places = self._replicas.addresses()
        self._pages = fetched_all({id: place[1:] for id, place in places.items()})
        self._latency = with_pages(
            self._latency, {id: (places[id][0], page) for id, page in self._pages.items()}
        )

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
        assert self._memory is not None
        port = declared.service.port or self._memory.port
        if not port:
            port = free_port(declared.service.host)
            self._memory = Memory(self._memory.course, port, self._memory.scale)
        keys = self._keys_of(declared) if declared.service.is_keyed else None
        return service_of(declared, port, self._replicas.addresses(), self._draining, keys)

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
        try:
            self.service = self._service_of(declared)
        except (EdgeError, RegistryError) as error:  # the old one goes on
            trouble = trouble or str(error)
        seen = self._replicas.seen()
        if not declared.is_wanted and not seen and self._was_adopted and trouble is None:
            self._replicas.close()
            if self._secret_files is not None:
                self._secret_files.remove(self.name)
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
        observed = Observed(
            found.state,
            found.cause,
            url_of(declared, self.service),
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
