"""The rollouts of one deployment: begun when another revision is the goal, advanced each tick, and
written into the record and the ledger.

course = rollouts.course(declared, kept)            # None: there is none
course = rollouts.advanced(declared, course, rules, readiness, tick_s)
declared = rollouts.shifted(declared, course, rules)
rollouts.note(before, course)

When it goes on, and when it is taken back, is decided in course.py and evidence.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import msgspec

from registry.deployments import Deployment, Deployments, Rollout, Share
from runtime.deployments.course import Course, Readiness, advanced, begun, shares
from runtime.deployments.leaving import Place
from runtime.deployments.sampling import Sample, Sampling
from runtime.deployments.witness import Witness

ACTOR = "controller"


class Rollouts:
    """Of one deployment. Not for several threads at once."""

    def __init__(
        self, name: str, deployments: Deployments, witness: Witness, sample: Sample | None
    ) -> None:
        self._name, self._deployments = name, deployments
        self._witness, self._sampling = witness, Sampling(sample)
        self._looked_up = 0
        """The declaration in which nobody named again what was taken back."""

    def __repr__(self) -> str:
        return f"Rollouts({self._name}, {self._witness})"

    def course(self, declared: Deployment, kept: Course | None) -> Course | None:
        """``kept``: as it was; a new one where the goal is another one and has not the traffic, or
        was named again after it had been taken back."""
        if not declared.is_wanted:
            return kept
        if kept is not None and kept.new == declared.goal and not self._is_retried(declared, kept):
            return kept
        live = [share for share in declared.traffic if not share.is_shadow]
        if live == [Share(declared.goal, 100.0)]:
            return None
        self._witness.begin_anew()
        self._sampling.forget(declared.goal)
        return begun(declared.goal, declared.traffic)

    def advanced(
        self,
        declared: Deployment,
        course: Course,
        rules: Rollout,
        readiness: Readiness,
        places: Mapping[str, Place],
        tick_s: float,
    ) -> Course:
        """A tick later. ``rules``: of this rollout; ``places``: of replicas that answer."""
        if readiness.trouble is None and readiness.ready and course.phase == "preparing":
            if self._is_sampled(declared, course.new, places):
                readiness = replace(readiness, trouble=self._sampling.wrong(course.new))
            else:  # its time to start has not to do with how long its answers take
                readiness, tick_s = replace(readiness, ready=0), 0.0
        after = advanced(
            course,
            rules,
            declared.revision(course.new).settings.health.start_s,
            tick_s,
            readiness,
            self._witness.of_old(course),
            self._witness.of_new(course, declared.service.rollout),
        )
        if after.phase == "taken back":
            after = msgspec.structs.replace(after, attempt=self._deployments.attempt(self._name))
        return after

    def shifted(self, declared: Deployment, course: Course, rules: Rollout) -> Deployment:
        """The traffic as the course has it, in the record and the ledger. Once it is over, people
        may split the traffic otherwise. Returns the record as it is then."""
        if not declared.is_wanted:
            return declared
        wanted = shares(course, rules)
        shadows = tuple(
            share
            for share in declared.traffic
            if share.is_shadow and share.revision not in {each.revision for each in wanted}
        )
        if not wanted or (*wanted, *shadows) == declared.traffic:
            return declared
        why = course.cause or f"rollout of revision {course.new}: {course.phase}"
        return self._deployments.set_traffic(self._name, [*wanted, *shadows], actor=ACTOR, why=why)

    def note(self, before: Course, after: Course) -> None:
        """In the ledger, once it is over: after the traffic was ``shifted``, as otherwise nobody
        would do that any more where the ledger cannot be written."""
        if after.phase != before.phase and after.is_over:
            detail = {"revision": after.new, "cause": after.cause}
            self._deployments.note(self._name, f"rollout {after.phase}", detail, actor=ACTOR)

    def _is_retried(self, declared: Deployment, course: Course) -> bool:
        """Looked up only when something changed."""
        if course.phase != "taken back" or declared.change == self._looked_up:
            return False
        self._looked_up = declared.change
        return course.attempt not in (0, self._deployments.attempt(self._name))

    def _is_sampled(self, declared: Deployment, revision: int, places: Mapping[str, Place]) -> bool:
        """Asked of its first replica that answers."""
        for found, address, port in places.values():
            if found == revision:
                digest = declared.revision(revision).digest
                return self._sampling.is_done(revision, digest, address, port)
        return False
