"""What revisions answered since a rollout began: as the balancer counts it, and how long it took,
as their own pages say.

witness.count(balanced, places)           # each tick
witness.read_pages(pages, places)         # whenever there are new ones
witness.of_new(course, rollout)           # Answers, with those that took too long
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from registry.deployments import Rollout
from runtime.balance.balancer import ServiceState
from runtime.deployments import latency, tally
from runtime.deployments.course import Course
from runtime.deployments.evidence import Answers
from runtime.deployments.latency import Latency
from runtime.deployments.leaving import Place
from runtime.deployments.tally import Reading, Tally


class Witness:
    """Of one deployment. Not for several threads at once."""

    def __init__(self) -> None:
        self._tally = Tally()
        self._latency = Latency()

    def __repr__(self) -> str:
        return f"Witness({dict(self._tally.sums)})"

    def begin_anew(self) -> None:
        """A rollout begins: nothing is counted yet."""
        self._tally = tally.begun_anew(self._tally)
        self._latency = latency.begun_anew(self._latency)

    def count(self, balanced: ServiceState | None, places: Mapping[str, Place]) -> None:
        """``places``: of those that answer, by id."""
        if balanced is None:
            return
        revisions = {(address, port): revision for revision, address, port in places.values()}
        readings = {
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
        }
        self._tally = tally.counted(self._tally, readings)

    def read_pages(self, pages: Mapping[str, bytes | None], places: Mapping[str, Place]) -> None:
        """``pages``: of /metrics, by id; None where there was none in time."""
        known = {id: (places[id][0], page) for id, page in pages.items() if id in places}
        self._latency = latency.with_pages(self._latency, known)

    def of_old(self, course: Course) -> Answers:
        """Of the revisions that had the traffic before."""
        return self._tally.answers(*_old(course))

    def of_new(self, course: Course, rollout: Rollout) -> Answers:
        """Of the one that comes."""
        found = self._tally.answers(course.new)
        old, new = self._latency.of(*_old(course)), self._latency.of(course.new)
        slow, slower = (
            0 if limit_s is None else min(latency.beyond(new, limit_s), found.requests)
            for limit_s in (
                latency.threshold_s(old, rollout.max_p99_ratio, share) for share in (0.99, 0.5)
            )
        )
        return replace(found, slow=slow, slower=slower)


def _old(course: Course) -> tuple[int, ...]:
    return tuple(revision for revision, _ in course.before)
