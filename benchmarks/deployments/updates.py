"""Rolling updates under load: one revision takes over from the other, again and again.

python -m benchmarks.deployments --only updates,updates-docker
"""

from __future__ import annotations

import time

from benchmarks.deployments.figures import (
    failures,
    median,
    outside,
    quantile_ms,
    said,
    within,
)
from benchmarks.deployments.images import make_digits
from benchmarks.deployments.plan import Plan
from benchmarks.deployments.report import Part
from benchmarks.deployments.stand import AT_ONCE, Stand, is_live, stand
from benchmarks.deployments.traffic import RIGHT, Asked, Rate, Sending, Traffic
from benchmarks.outcome import Finding, table
from registry.deployments import Health, RevisionSettings, ServiceSettings

RATE = 100.0
REPLICAS = 2
STEADY_S = 3.0
SERVICE = ServiceSettings(least_replicas=REPLICAS, most_replicas=REPLICAS, rollout=AT_ONCE)
SETTINGS = RevisionSettings(health=Health(start_s=60.0))


def updates(plan: Plan) -> Part:
    """Replicas are processes of this machine."""
    with stand() as found:
        return _measure(found, make_digits(found), plan.times(100, 4), "local", plan)


def updates_docker(plan: Plan) -> Part:
    """Replicas are containers of this machine's engine."""
    part = Part("updates-docker")
    base = plan.debian_base()
    if base is None or not plan.has_engine():
        part.notes.append("Not measured: it needs the Docker Engine and scripts/test-base.")
        return part
    with stand(base=str(base)) as found:
        found.workspace.targets.attach("box", "docker", {})
        return _measure(found, make_digits(found), plan.times(20, 2), "box", plan)


def _measure(found: Stand, asked: list[Asked], times: int, target: str, plan: Plan) -> Part:
    part = Part("updates" if target == "local" else "updates-docker")
    port = found.deploy("web", "digits:1", target=target, service=SERVICE, settings=SETTINGS)
    spans = []
    with Traffic(Sending(port, asked, [Rate(RATE)]), found.scratch) as traffic:
        time.sleep(STEADY_S)
        for number in range(times):
            began_s = time.monotonic()
            # Another image each time; a variable too, as an image alone would be a revision again.
            made = found.update(
                "web", image=f"digits:{2 - number % 2}", environment={"ROUND": str(number)}
            )
            found.until("web", lambda it, goal=made.goal: is_live(it, goal))  # type: ignore[misc]
            spans.append((began_s, time.monotonic()))
            if number % 10 == 9 or number == times - 1:
                plan.say(f"{number + 1} of {times} updates, {spans[-1][1] - spans[-1][0]:.1f} s")
        time.sleep(STEADY_S)
    requests = traffic.requests
    during, else_ = within(requests, spans), outside(requests, spans)
    failed = failures(requests)
    what = f"{times} rolling updates under load, {'processes' if target == 'local' else 'Docker'}"
    part.findings.append(
        Finding(f"{what}: failed requests", "0", f"{said(failed)} of {len(requests)}", not failed)
    )
    lasted = [end_s - began_s for began_s, end_s in spans]
    rows = []
    for name, own in (("during updates", during), ("between them", else_)):
        times_ms = [quantile_ms(own, share) for share in (0.5, 0.99, 0.999, 1.0)]
        rows.append(
            [
                name,
                f"{len(own)}",
                said(failures(own)),
                *("-" if each is None else f"{each:.1f}" for each in times_ms),
            ]
        )
    header = [
        f"{what}, {RATE:g} requests/s",
        "requests",
        "failed",
        "p50 ms",
        "p99",
        "p99.9",
        "most",
    ]
    part.tables.append(table(header, rows))
    part.notes.append(
        f"An update took {median(lasted):.1f} s (median; {min(lasted):.1f} to {max(lasted):.1f}),"
        " from its declaration until the new revision had all of the traffic; old replicas end"
        " after that."
    )
    part.figures = {
        "updates": times,
        "requests": len(requests),
        "right": sum(each.fate == RIGHT for each in requests),
        "failed": failed,
        "seconds_per_update": lasted,
        "p99_during_ms": quantile_ms(during, 0.99),
        "p99_between_ms": quantile_ms(else_, 0.99),
        "failed_at_s": [
            round(each.due_s - spans[0][0], 3) for each in requests if each.fate != RIGHT
        ],
        "updates_at_s": [[round(t - spans[0][0], 3) for t in span] for span in spans],
    }
    return part
