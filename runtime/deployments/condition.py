"""How a deployment is, in a word and one sentence. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from registry.deployments import Deployment
from runtime.deployments.course import Course, percent_now
from runtime.deployments.fleet import Seen, ready_of

State = Literal["starting", "running", "updating", "degraded", "failed", "stopping", "unknown"]


@dataclass(frozen=True, slots=True)
class Condition:
    """``cause``: why it is not simply running; None where all is well."""

    state: State
    cause: str | None = None


def condition(
    deployment: Deployment,
    course: Course | None,
    wanted: Mapping[int, int],
    seen: Sequence[Seen],
    trouble: str | None,
    *,
    is_served: bool = True,
) -> Condition:
    """``trouble``: of a host, the balancer or a replica, whichever is worst. ``is_served``: the
    balancer has its address open."""
    if not deployment.is_wanted:
        return Condition("stopping", trouble)
    live = [share.revision for share in deployment.traffic if not share.is_shadow]
    answering = sum(ready_of(revision, seen) for revision in live)
    if course is not None and not course.is_over:
        if not course.before:
            return Condition(
                "failed" if course.cause else "starting", trouble or course.cause or None
            )
        rollout = deployment.service.rollout
        share = percent_now(course, rollout)
        what = f"revision {course.new} has {share:g} % of the traffic"
        if course.phase == "preparing":
            what = f"revision {course.new} starts"
        return Condition("updating", f"{what}; {trouble}" if trouble else what)
    expected = sum(wanted.get(revision, 0) for revision in live)
    if expected and not answering:
        return Condition("failed", trouble or "no replica answers")
    if expected and not is_served:
        return Condition("starting", trouble or "its address is not open yet")
    missing = expected - answering
    if missing > 0:
        return Condition("degraded", trouble or f"{missing} of {expected} replicas do not answer")
    if course is not None and course.phase == "taken back" and course.new == deployment.goal:
        return Condition("running", f"revision {course.new} was taken back: {course.cause}")
    return Condition("degraded", trouble) if trouble else Condition("running")


def noted(found: Condition, *notes: str | None) -> Condition:
    """With what people should know besides, and which makes nothing worse."""
    said = [each for each in (found.cause, *notes) if each]
    return Condition(found.state, "; ".join(said) or None)
