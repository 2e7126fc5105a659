"""Ten times the load within a moment, and the first request where there is no replica.

    python -m benchmarks.deployments --only step,zero

The model takes 20 ms of time and hardly any of a core, so two cores can carry many replicas. What a
replica carries is 80 % of what it can. Requests have a deadline of a second, so that what nobody
could answer in time is refused at once instead of standing before what comes later.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Self

from benchmarks.deployments.figures import capacity_s, counted, median, quantile_ms, said
from benchmarks.deployments.images import make_teller
from benchmarks.deployments.plan import Plan
from benchmarks.deployments.report import Part
from benchmarks.deployments.stand import AT_ONCE, POLL_S, Stand, is_state, ready, stand
from benchmarks.deployments.traffic import RIGHT, Asked, Done, Rate, Sending, Traffic
from benchmarks.outcome import Finding, table
from registry.deployments import Autoscale, Deployment, Health, RevisionSettings, ServiceSettings

SLEEP_S = 0.020
CARRIED = 0.8
REPLICAS = 4
LATE_S = 1.0
BEFORE_S = 10.0
AFTER_S = 30.0
QUIET_S = 3.0
"""Without a request that is late, until there is capacity."""
LEAST_SHARE = 0.1
SETTINGS = RevisionSettings(
    environment={"SLEEP_MS": f"{SLEEP_S * 1000:g}", "REVISION": "1"},
    health=Health(start_s=60.0),
    workers=1,
    deadline_ms=LATE_S * 1000,
)


@dataclass(frozen=True, slots=True)
class Grown:
    """Replicas that answer, and all that there are, so long after the step."""

    at_s: float
    ready: int
    all: int

    @classmethod
    def of(cls, found: Deployment, at_s: float) -> Self:
        seen = found.observed
        return cls(at_s, len(ready(found)), 0 if seen is None else len(seen.replicas))

    @property
    def counts(self) -> tuple[int, int]:
        return self.ready, self.all


def step(plan: Plan) -> Part:
    """From 10 % to 100 % of what four replicas carry; there are 1..4."""
    part = Part("step")
    carried = CARRIED / SLEEP_S
    low, high = LEAST_SHARE * REPLICAS * carried, REPLICAS * carried
    service = ServiceSettings(least_replicas=1, most_replicas=REPLICAS, rollout=AT_ONCE)
    with stand() as found:
        asked = make_teller(found)
        port = found.deploy("web", "teller:1", service=service, settings=SETTINGS)
        time.sleep(2.0)
        rates = [Rate(low, BEFORE_S), Rate(high)]
        grown: list[Grown] = []
        with Traffic(Sending(port, asked, rates), found.scratch) as traffic:
            step_s = traffic.began_s + BEFORE_S
            while time.monotonic() < step_s + AFTER_S:
                now = Grown.of(found.get("web"), time.monotonic() - step_s)
                if not grown or grown[-1].counts != now.counts:
                    grown.append(now)
                    plan.say(f"{now.at_s:+.1f} s from the step: {now.ready} of {now.all} ready")
                time.sleep(POLL_S)
        why = _reasons(found)
    _judge_step(part, traffic.requests, step_s, grown, low, high)
    part.figures["decisions"] = why
    part.notes += [f"Decision: {each}" for each in why]
    return part


def zero(plan: Plan) -> Part:
    """How long the first request waits where there is no replica."""
    part, waited_s, fates = Part("zero"), [], []
    service = ServiceSettings(
        least_replicas=0, most_replicas=2, rollout=AT_ONCE, autoscale=Autoscale(zero_after_s=1.0)
    )
    with stand() as found:
        asked = make_teller(found)
        port = found.deploy("web", "teller:1", service=service, settings=SETTINGS)
        for number in range(plan.times(5, 1)):
            found.until("web", lambda it: is_state(it, "running") and not ready(it))
            time.sleep(2.0)  # HAProxy knows it too, and the last process has ended
            done = _first(port, asked, found)
            waited_s.append(done.took_s)
            fates.append(done.fate)
            plan.say(f"{number + 1}: {done.fate} after {done.took_s:.2f} s")
    wrong = [fate for fate in fates if fate != RIGHT]
    part.findings.append(
        Finding(
            f"first request to a deployment without a replica, {len(fates)} times",
            "held, and answered",
            f"{len(wrong)} failed; waited {median(waited_s):.1f} s (median), {max(waited_s):.1f} s"
            " at most",
            not wrong,
        )
    )
    part.figures = {"waited_s": waited_s, "fates": fates}
    return part


def _first(port: int, asked: list[Asked], found: Stand) -> Done:
    """One request."""
    rates = [Rate(10.0, 0.1), Rate(1e-3)]
    with Traffic(Sending(port, asked, rates), found.scratch) as traffic:
        found.until("web", lambda it: bool(ready(it)))
        time.sleep(0.5)
    return traffic.requests[0]


def _reasons(found: Stand) -> list[str]:
    return [
        f"{each.detail['from']} to {each.detail['to']}: {each.detail['why']}"
        for each in found.workspace.deployments.ledger("web", limit=1000)
        if each.event == "scaled"
    ]


def _judge_step(
    part: Part,
    requests: list[Done],
    step_s: float,
    grown: list[Grown],
    low: float,
    high: float,
) -> None:
    own = [each for each in requests if each.due_s >= step_s]
    missed = [each for each in own if each.fate != RIGHT or each.took_s > LATE_S]
    never = float("inf")
    begun_s = next((each.at_s for each in grown if each.at_s > 0 and each.all > 1), never)
    all_s = next((each.at_s for each in grown if each.ready == REPLICAS), never)
    carried_s = capacity_s(own, step_s, LATE_S, QUIET_S)
    start_s = all_s - begun_s
    instant = instant_ideal(high, 1 / SLEEP_S, REPLICAS, start_s, AFTER_S)
    later = sum(each.due_s > step_s + carried_s for each in missed)
    rows = [
        ["an ideal that knows the future", "-", "0.0", "0.0", "0", "0.00%"],
        [
            f"an ideal that acts at the step (replicas need {start_s:.1f} s)",
            "0.0",
            f"{start_s:.1f}",
            "-",
            f"{instant}",
            f"{instant / len(own):.2%}",
        ],
        [
            "ours",
            f"{begun_s:.1f}",
            f"{all_s:.1f}",
            f"{carried_s:.1f}",
            f"{len(missed)}",
            f"{len(missed) / len(own):.2%}",
        ],
    ]
    header = [
        f"{low:g} to {high:g} requests/s, 1 to {REPLICAS} replicas, {AFTER_S:g} s after the step",
        "more begun after s",
        f"{REPLICAS} ready after s",
        "capacity after s",
        "missed",
        f"of {len(own)}",
    ]
    part.tables.append(table(header, rows))
    part.findings.append(
        Finding(
            f"10x step on 1..{REPLICAS} replicas: time to capacity; requests missed",
            "-",
            f"{carried_s:.1f} s; {len(missed)} of {len(own)} ({_kinds(missed)})",
            None,
        )
    )
    times = [quantile_ms(own, share) for share in (0.5, 0.99)]
    part.notes.append(
        f"Missed: refused, failed or later than {LATE_S:g} s; {later} of them after there was"
        f" capacity (no miss for {QUIET_S:g} s). Right answers after the step: p50"
        f" {times[0]:.0f} ms, p99 {times[1]:.0f} ms."
        if times[0] is not None and times[1] is not None
        else "No right answer after the step."
    )
    part.figures = {
        "low": low,
        "high": high,
        "replicas": [[each.at_s, each.ready, each.all] for each in grown],
        "begun_s": begun_s,
        "capacity_s": carried_s,
        "all_replicas_s": all_s,
        "requests": len(own),
        "missed": len(missed),
        "missed_kinds": counted(missed),
        "missed_of_an_instant_ideal": instant,
    }


def _kinds(missed: list[Done]) -> str:
    return said({"late" if kind == RIGHT else kind: n for kind, n in counted(missed).items()})


def instant_ideal(rate: float, able: float, replicas: int, ready_s: float, seconds: float) -> int:
    """Requests that even someone misses who starts all replicas at the moment of the step, where
    they are ready after ``ready_s`` and each is ``able`` to answer so many a second: whoever would
    wait for longer than is allowed is refused at once."""
    free_s, missed = 0.0, 0
    for number in range(int(rate * seconds)):
        at_s = number / rate
        begin_s = max(free_s, at_s)
        if begin_s + 1 / able - at_s > LATE_S:
            missed += 1
        else:
            free_s = begin_s + 1 / (able if begin_s < ready_s else able * replicas)
    return missed
