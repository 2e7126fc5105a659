"""The course of a rollout: how a new revision comes into service, step by step, or goes. Pure.

    course = begun(new=2, before=deployment.traffic)
    course = advanced(course, rollout, dt_s, readiness, old, new)      # each tick
    shares(course, rollout)                                            # what gets the traffic now

It is kept after each tick, so that another controller goes on with it. Only ticks count as time: a
clock that jumps, or a controller that was away, shortens no step.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import msgspec

from registry.deployments import Rollout, Share
from runtime.deployments.evidence import Answers, complaint

Phase = Literal["preparing", "shifting", "finished", "taken back"]
MAX_TICK_S = 1.0
LONGEST = 10.0
"""A step with too few requests to tell lasts so many times its length."""


class Course(msgspec.Struct, frozen=True, omit_defaults=True):
    """``before``: revision and percent of what had the traffic when it began; ``elapsed_s``: of
    preparing, or of the step; ``seen`` and ``seen_before``: requests of the new revision and of
    those before it, when the step began; ``attempt``: which naming of the goal was taken back."""

    new: int
    before: tuple[tuple[int, float], ...] = ()
    phase: Phase = "preparing"
    step: int = 0
    elapsed_s: float = 0.0
    seen: int = 0
    seen_before: int = 0
    cause: str = ""
    attempt: int = 0

    @property
    def is_over(self) -> bool:
        """Nothing more comes of it."""
        return self.phase in ("finished", "taken back")


@dataclass(frozen=True, slots=True)
class Readiness:
    """Of the new revision's replicas. ``trouble``: why it cannot come into service (a replica
    ended, its sample failed); ``delay``: what keeps them from starting, which may pass."""

    ready: int
    wanted: int
    trouble: str | None = None
    delay: str | None = None


def begun(new: int, before: Sequence[Share]) -> Course:
    """``before``: what has the traffic; nothing when it is the first revision."""
    kept = tuple((s.revision, s.percent) for s in before if not s.is_shadow and s.revision != new)
    return Course(new, kept)


def advanced(
    course: Course,
    rollout: Rollout,
    start_s: float,
    tick_s: float,
    readiness: Readiness,
    old: Answers,
    new: Answers,
) -> Course:
    """A tick later. ``start_s``: how long its replicas may take to be ready; ``tick_s``: since the
    last tick, by a monotonic clock."""
    if course.is_over:
        return course
    passed = min(max(tick_s, 0.0), MAX_TICK_S) if math.isfinite(tick_s) else 0.0
    course = msgspec.structs.replace(course, elapsed_s=course.elapsed_s + passed)
    if readiness.trouble is not None:
        return _taken_back(course, readiness.trouble)
    if course.phase == "preparing":
        return _prepared(course, start_s, readiness, old, new)
    found = complaint(rollout, old, new)
    if found is not None:
        return _taken_back(course, found)
    if not _is_step_over(course, rollout, old, new):
        return course
    if course.step + 1 >= len(rollout.steps):
        return msgspec.structs.replace(course, phase="finished")
    if readiness.ready < readiness.wanted:
        return course  # what is to carry more must be there first
    return _stepped(course, course.step + 1, old, new)


def shares(course: Course, rollout: Rollout) -> tuple[Share, ...]:
    """What gets the traffic, 100 % in all; nothing where the first revision is not ready."""
    if course.phase == "finished" or (course.phase == "shifting" and not course.before):
        return (Share(course.new, 100.0),)
    if course.phase != "shifting":
        return _split(course.before, 100.0)
    percent = percent_now(course, rollout)
    if percent >= 100:
        return (Share(course.new, 100.0),)
    return (*_split(course.before, 100.0 - percent), Share(course.new, percent))


def percent_now(course: Course, rollout: Rollout) -> float:
    """Of the new revision."""
    if course.phase == "finished":
        return 100.0
    if course.phase != "shifting":
        return 0.0
    return rollout.steps[min(course.step, len(rollout.steps) - 1)]


def percent_next(course: Course, rollout: Rollout) -> float:
    """What the new revision's replicas must be able to carry: the step that comes."""
    if course.is_over:
        return percent_now(course, rollout)
    if not course.before:
        return 100.0
    ahead = 0 if course.phase == "preparing" else course.step + 1
    return rollout.steps[min(ahead, len(rollout.steps) - 1)]


def _prepared(
    course: Course, start_s: float, readiness: Readiness, old: Answers, new: Answers
) -> Course:
    if readiness.ready >= max(readiness.wanted, 1):
        phase: Phase = "shifting" if course.before else "finished"
        return _stepped(msgspec.structs.replace(course, phase=phase), 0, old, new)
    if course.elapsed_s >= start_s and course.before:
        why = "" if readiness.delay is None else f": {readiness.delay}"
        return _taken_back(course, f"it was not ready within {start_s:g} s{why}")
    return course


def _stepped(course: Course, step: int, old: Answers, new: Answers) -> Course:
    return msgspec.structs.replace(
        course, step=step, elapsed_s=0.0, seen=new.requests, seen_before=old.requests
    )


def _is_step_over(course: Course, rollout: Rollout, old: Answers, new: Answers) -> bool:
    if course.elapsed_s < rollout.step_s:
        return False
    if new.requests == course.seen and old.requests == course.seen_before:
        return True  # nobody asks, so that there is nothing to wait for
    is_told = new.requests - course.seen >= rollout.least_requests
    return is_told or course.elapsed_s >= LONGEST * rollout.step_s


def _taken_back(course: Course, cause: str) -> Course:
    """The first revision has nothing to go back to: it is tried on, and its state says why."""
    if not course.before:
        return msgspec.structs.replace(course, cause=cause[:1000])
    return msgspec.structs.replace(course, phase="taken back", cause=cause[:1000])


def _split(before: Sequence[tuple[int, float]], percent: float) -> tuple[Share, ...]:
    whole = sum(each for _, each in before)
    if whole <= 0:
        return ()
    return tuple(Share(revision, each / whole * percent) for revision, each in before)
