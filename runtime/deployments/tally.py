"""What revisions answered since a rollout began, out of counters that a new process of the balancer
begins at 0 again. Pure.

    tally = counted(tally, {("web.0", "s1"): Reading(2, 120, 3)})
    tally.answers(2)
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from runtime.deployments.evidence import Answers

Place = tuple[str, str]
"""Where a counter is: a backend and a server of it, which replicas take one after the other."""


@dataclass(frozen=True, slots=True)
class Reading:
    """Counters of a place, and the revision that has it now."""

    revision: int
    requests: int
    failed: int


@dataclass(frozen=True, slots=True)
class Tally:
    """Sums by revision, and what each place said last."""

    sums: Mapping[int, Answers] = field(default_factory=dict)
    last: Mapping[Place, Reading] = field(default_factory=dict)

    def answers(self, *revisions: int) -> Answers:
        """Of these together."""
        found = [self.sums.get(each, Answers()) for each in revisions]
        return Answers(
            sum(each.requests for each in found),
            sum(each.failed for each in found),
            sum(each.slow for each in found),
        )


def counted(tally: Tally, readings: Mapping[Place, Reading]) -> Tally:
    """With what came since the last time. A place that was not there before counts from what it
    says now: what it says is of a time before."""
    sums = dict(tally.sums)
    for place, now in readings.items():
        before = tally.last.get(place)
        if before is None:
            continue
        requests, failed = _grown(before.requests, now.requests), _grown(before.failed, now.failed)
        old = sums.get(now.revision, Answers())
        # A connection that failed is counted with the server that was tried, and its request with
        # the one that answered.
        whole = old.requests + requests
        sums[now.revision] = Answers(whole, min(old.failed + failed, whole), old.slow)
    return Tally(sums, {**tally.last, **readings})


def begun_anew(tally: Tally) -> Tally:
    """Nothing counted yet, from here on."""
    return Tally({}, tally.last)


def _grown(before: int, now: int) -> int:
    """Since before; a counter that is smaller began again at 0."""
    return now - before if now >= before else now
