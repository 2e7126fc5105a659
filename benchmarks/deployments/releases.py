"""Bad releases under load, with the steps that a deployment has where nobody says others: is each
taken back, how soon, and how many requests came to harm?

    python -m benchmarks.deployments --only releases
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from benchmarks.deployments.figures import LATER_S, Exposure, exposure, failures, said
from benchmarks.deployments.images import make_teller
from benchmarks.deployments.plan import Plan
from benchmarks.deployments.report import Part
from benchmarks.deployments.stand import POLL_S, Stand, StuckError, is_live, stand
from benchmarks.deployments.traffic import Done, Rate, Sending, Traffic
from benchmarks.outcome import Finding, table
from registry.deployments import Deployment, Health, RevisionSettings, Rollout, ServiceSettings

RATE = 100.0
REPLICAS = 2
SETTLE_S = 2.0
MOST_SHARE = 0.01
OVER_S = 300.0
SLEEP_MS = 10
START_S = 10.0
USUAL = {"SLEEP_MS": str(SLEEP_MS)}


@dataclass(frozen=True, slots=True)
class Release:
    """``environment``: what is wrong with it; ``is_slow``: each of its answers is harm."""

    what: str
    environment: dict[str, str] = field(default_factory=dict)
    is_slow: bool = False
    is_good: bool = False


RELEASES = (
    Release("answers 500 to all", {"FAIL_SHARE": "1"}),
    Release("answers 500 to 50 %", {"FAIL_SHARE": "0.5"}),
    Release("answers 500 to 5 %", {"FAIL_SHARE": "0.05"}),
    Release("5 times slower", {"SLEEP_MS": str(5 * SLEEP_MS)}, is_slow=True),
    Release("never ready", {"START_S": "1000"}),
    Release("ends at its 20th request", {"LAST_REQUEST": "20"}),
    Release("its worker ends at 5 % of requests", {"WORKER_ENDS_SHARE": "0.05"}),
    Release("answers golden inputs wrongly", {"WRONG_BY": "1"}),
    Release("a good one, for comparison", is_good=True),
)


@dataclass(frozen=True, slots=True)
class Course:
    """Of one release. Times by the clock of the requests."""

    release: Release
    revision: int
    declared_s: float
    shifted_s: float | None
    over_s: float
    is_taken_back: bool
    cause: str


def releases(plan: Plan) -> Part:
    """All of them, one after the other, on one deployment."""
    part, courses = Part("releases"), []
    service = ServiceSettings(least_replicas=REPLICAS, most_replicas=REPLICAS)
    settings = RevisionSettings(
        environment={**USUAL, "REVISION": "1"}, health=Health(start_s=60.0), workers=2
    )
    chosen = RELEASES if plan.share >= 1 else RELEASES[: max(2, round(len(RELEASES) * plan.share))]
    with stand() as found:
        asked = make_teller(found, has_golden=True)
        port = found.deploy("web", "teller:1", service=service, settings=settings)
        with Traffic(Sending(port, asked, [Rate(RATE)]), found.scratch) as traffic:
            time.sleep(SETTLE_S)
            for release in chosen:
                course = _released(found, release)
                took_s = course.over_s - course.declared_s
                plan.say(f"{release.what}: {course.cause or 'live'} after {took_s:.1f} s")
                courses.append(course)
                time.sleep(SETTLE_S)
        _judge(part, traffic.requests, courses, service.rollout)
    return part


def _released(found: Stand, release: Release) -> Course:
    number = max(each.number for each in found.get("web").revisions) + 1
    environment = {**USUAL, **release.environment, "REVISION": str(number)}
    declared_s, shifted_s = time.monotonic(), None
    made = found.update("web", environment=environment, start_s=START_S)
    assert made.goal == number
    while True:
        now = found.get("web")
        has_traffic = number in {share.revision for share in now.traffic}
        if has_traffic and shifted_s is None:
            shifted_s = time.monotonic()
        cause = _taken_back(now, number)
        if cause is not None or is_live(now, number):
            over_s = time.monotonic()
            return Course(
                release, number, declared_s, shifted_s, over_s, cause is not None, cause or ""
            )
        if time.monotonic() - declared_s > OVER_S:
            raise StuckError(f"{release.what}: neither live nor taken back")
        time.sleep(POLL_S)


def _taken_back(found: Deployment, revision: int) -> str | None:
    """Why; None where it is not, or still has traffic."""
    seen = found.observed
    mark = f"revision {revision} was taken back: "
    cause = "" if seen is None or seen.cause is None else seen.cause
    if not cause.startswith(mark) or revision in {share.revision for share in found.traffic}:
        return None
    return cause.removeprefix(mark)


def _judge(part: Part, requests: list[Done], courses: list[Course], rollout: Rollout) -> None:
    rows, figures = [], []
    for course in courses:
        span = course.declared_s, course.over_s
        found = exposure(
            requests, span, course.shifted_s, course.revision, is_slow=course.release.is_slow
        )
        _find(part, course, found)
        rows.append(_row(course, found, requests))
        figures.append(
            {
                "what": course.release.what,
                "taken_back": course.is_taken_back,
                "cause": course.cause,
                "seconds": course.over_s - course.declared_s,
                "seconds_with_traffic": 0.0
                if course.shifted_s is None
                else course.over_s - course.shifted_s,
                "requests": found.requests,
                "requests_while_it_had_traffic": found.shifting,
                "answered_by_it": found.answered,
                "harmed": found.harmed,
                "share": found.share,
                "share_while_it_had_traffic": found.shifting_share,
            }
        )
    steps = ", ".join(f"{each:g}" for each in rollout.steps)
    header = [f"a release that ({RATE:g} requests/s)", "taken back", "after s", "with traffic s"]
    header += ["requests", "answered by it", "harmed", "of all", "while it had traffic", "failed"]
    part.tables.append(table(header, rows))
    part.notes.append(
        f"Steps {steps} % of {rollout.step_s:g} s, the usual ones. Harmed: failed, wrong or slow,"
        " of the requests due from the declaration of the release until it was taken back; and, in"
        " the next column, of those due since it first had traffic."
    )
    part.figures = {"releases": figures, "requests": len(requests)}


def _find(part: Part, course: Course, found: Exposure) -> None:
    release = course.release
    if release.is_good:
        part.findings.append(
            Finding(
                "a good release",
                "goes live, 0 failed",
                f"{'taken back' if course.is_taken_back else 'live'}, {found.harmed} harmed",
                not course.is_taken_back and found.harmed == 0,
            )
        )
        return
    part.findings.append(
        Finding(
            f"a release that is bad: {release.what}",
            f"taken back, <= {MOST_SHARE:.0%} of requests exposed",
            f"{'taken back' if course.is_taken_back else 'LIVE'}, {found.share:.2%}"
            f" ({found.harmed} of {found.requests})",
            course.is_taken_back and found.share <= MOST_SHARE,
        )
    )


def _row(course: Course, found: Exposure, requests: list[Done]) -> list[str]:
    own = [each for each in requests if course.declared_s <= each.due_s < course.over_s + LATER_S]
    shifted_s = course.shifted_s
    return [
        course.release.what,
        "yes" if course.is_taken_back else "no",
        f"{course.over_s - course.declared_s:.1f}",
        "-" if shifted_s is None else f"{course.over_s - shifted_s:.1f}",
        f"{found.requests}",
        f"{found.answered}",
        f"{found.harmed}",
        f"{found.share:.2%}",
        f"{found.shifting_share:.2%}",
        said(failures(own)),
    ]
