"""Which replicas there shall be, and what to do about it. Pure.

wanted = wanted_replicas(deployment, course, scale=3)
for step in steps(wanted, seen, waits, now_s): ...
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from registry.deployments import Deployment
from runtime.deployments.course import Course, percent_next, percent_now

State = Literal["starting", "ready", "unhealthy", "draining", "stopping", "ended"]
"""draining: it gets nothing more, and finishes; stopping: it was told to end."""


@dataclass(frozen=True, slots=True)
class Seen:
    """A replica as its host and its probes say. ``started_s``: of any one clock."""

    id: str
    revision: int
    state: State
    started_s: float


@dataclass(frozen=True, slots=True)
class Start:
    """One replica more of a revision."""

    revision: int


@dataclass(frozen=True, slots=True)
class Drain:
    """Take it out of the traffic, let it finish, then stop it."""

    id: str


@dataclass(frozen=True, slots=True)
class Remove:
    """It has ended, or does not answer: nothing is lost with it."""

    id: str


Step = Start | Drain | Remove


def wanted_replicas(
    deployment: Deployment, course: Course | None, scale: int, *, is_exclusive: bool = False
) -> Mapping[int, int]:
    """Replicas by revision. ``scale``: what all of the traffic needs. Old ones keep all theirs
    until a rollout is finished: it may be taken back at any time. ``is_exclusive``: there is room
    for one replica, as there is one board; a new one comes in its place."""
    if not deployment.is_wanted:
        return {}
    rollout = deployment.service.rollout
    found: dict[int, int] = {}
    if is_exclusive:
        scale = min(scale, 1)
        if course is not None and not course.is_over:
            return {course.new: 1}
    if course is None or course.is_over:
        for share in deployment.traffic:
            if not (is_exclusive and share.is_shadow):  # it would take the place of who answers
                found[share.revision] = _part(scale, share.percent)
        if course is None and not deployment.traffic:
            found[deployment.goal] = scale
        return {revision: count for revision, count in found.items() if count > 0}
    for revision, _percent in course.before:
        found[revision] = scale
    for share in deployment.traffic:
        if share.is_shadow:
            found[share.revision] = _part(scale, share.percent)
    percent = max(percent_next(course, rollout), percent_now(course, rollout))
    found[course.new] = max(1, _part(scale, percent))
    return found


def steps(
    wanted: Mapping[int, int],
    seen: Sequence[Seen],
    *,
    is_exclusive: bool = False,
) -> Sequence[Step]:
    """What to do now. What ended is its keeper's to start again. ``is_exclusive``: none starts
    before all others are gone."""
    found: list[Step] = []
    for replica in seen:
        if replica.state in ("ended", "unhealthy"):
            found.append(Remove(replica.id))
    revisions = sorted({*wanted, *(replica.revision for replica in seen)})
    for revision in revisions:
        alive = [
            replica
            for replica in seen
            if replica.revision == revision and replica.state in ("starting", "ready")
        ]
        missing = wanted.get(revision, 0) - len(alive)
        if missing > 0 and not (is_exclusive and seen):
            found += [Start(revision)] * missing
        elif missing < 0:
            found += [_end(replica) for replica in _least_missed(alive)[:-missing]]
    return found


def serving(deployment: Deployment, seen: Sequence[Seen]) -> list[Seen]:
    """Without those of shadows, whose load says nothing of what clients need."""
    shadows = {share.revision for share in deployment.traffic if share.is_shadow}
    return [replica for replica in seen if replica.revision not in shadows]


def ready_of(revision: int, seen: Sequence[Seen]) -> int:
    """How many of its replicas answer."""
    return sum(replica.revision == revision and replica.state == "ready" for replica in seen)


def _part(scale: int, percent: float) -> int:
    if percent <= 0 or scale <= 0:
        return 0
    return max(1, math.ceil(scale * percent / 100 - 1e-9))


def _end(replica: Seen) -> Step:
    return Remove(replica.id) if replica.state == "starting" else Drain(replica.id)


def _least_missed(alive: Sequence[Seen]) -> list[Seen]:
    """Those that do not answer yet, then the youngest."""
    return sorted(alive, key=lambda each: (each.state == "ready", -each.started_s, each.id))
