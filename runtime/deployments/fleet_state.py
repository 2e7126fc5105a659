"""How a deployment on devices is, told by what they report: its state, a row for each device, and
what counts as live. Pure.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from edge.hub.rollout_policy import targets
from edge.hub.rollout_states import ENDED, Rollout
from edge.messages.desired import Module
from registry.deployments import Deployment, Replica, Share
from registry.deployments.records import ReplicaState
from runtime.deployments.condition import Condition, State
from runtime.deployments.device_module import revision_running
from runtime.deployments.fleet_plan import STOPPED, DeviceMemory, is_settled, own_rollout
from runtime.deployments.fleet_reading import Device, Fleet

NOT_YET = "its turn comes"
MAX_ROWS = 1000
"""Devices beyond are only counted; those that are not well come first."""


def fleet_condition(
    declared: Deployment,
    wanted: Module,
    fleet: Fleet,
    memory: DeviceMemory,
    rows: Sequence[Replica],
    silent: str | None,
) -> Condition:
    """``rows``: of all devices; ``silent``: that no hub runs, in words."""
    found = _condition(declared, wanted, fleet, memory, rows)
    if silent is None:
        return found
    state: State = "degraded" if found.state == "running" else found.state
    return Condition(state, f"{silent}; {found.cause}" if found.cause else silent)


def _condition(
    declared: Deployment,
    wanted: Module,
    fleet: Fleet,
    memory: DeviceMemory,
    rows: Sequence[Replica],
) -> Condition:
    if not declared.is_wanted:
        left = fleet.leftover
        return Condition("stopping", f"it still runs on {_some(left)}" if left else None)
    if not fleet.devices:
        return Condition("starting", "no device of the hub meets the target's condition")
    own = own_rollout(wanted, fleet, memory)
    if own is not None and own.state not in ENDED:
        return _of_rollout(declared, own, fleet, rows)
    if fleet.newest is not None and fleet.newest.state in ("running", "paused", "rolling back"):
        return Condition("updating", f"devices get revision {declared.goal} back")
    is_told = fleet.layer is not None and fleet.layer.module(wanted.name) == wanted
    if not (is_told and is_settled(wanted, fleet.newest, fleet.devices)):
        return Condition("updating" if memory.before else "starting", "the hub is being told")
    return _running(rows)


def _of_rollout(
    declared: Deployment, own: Rollout, fleet: Fleet, rows: Sequence[Replica]
) -> Condition:
    goal, progress = declared.goal, fleet.progress
    said = "; ".join(f"{device}: {why}" for device, why in list(progress.failures.items())[:3])
    why = ": ".join(each for each in (own.reason, said) if each)
    ready = any(row.state == "ready" for row in rows)
    if own.state in STOPPED:
        if own.state == "aborted":
            why = f"its rollout was aborted{': ' if why else ''}{why}"
        return Condition("running" if ready else "failed", f"revision {goal} was taken back: {why}")
    state: State = "updating" if ready else "starting"
    if own.state == "rolling back":
        return Condition(state, f"revision {goal} is taken back: {why}")
    if own.state == "paused":
        resume = f"inferry edge rollout resume {own.id}"
        return Condition(state, f"its rollout is paused; go on with: {resume}; {why}".rstrip("; "))
    batches = len(targets(own.policy, progress.devices))
    cause = (
        f"revision {goal}: {progress.succeeded} of {progress.devices} devices are through,"
        f" batch {own.batch + 1} of {batches}"
    )
    troubled = said or _troubles(rows)
    return Condition(state, f"{cause}; {troubled}" if troubled else cause)


def _running(rows: Sequence[Replica]) -> Condition:
    ready, total = sum(row.state == "ready" for row in rows), len(rows)
    cause = f"on {ready} of {total} devices"
    if ready == total:
        return Condition("running", cause)
    said = f"{cause}; {_troubles(rows)}" if _troubles(rows) else cause
    if ready:
        return Condition("degraded", said)
    is_starting = any(row.state == "starting" for row in rows)
    return Condition("starting" if is_starting else "failed", said)


def device_rows(declared: Deployment, wanted: Module, fleet: Fleet) -> list[Replica]:
    """By name."""
    return [_row(declared, wanted, each) for each in fleet.devices]


def shown_rows(rows: Sequence[Replica]) -> tuple[Replica, ...]:
    """At most MAX_ROWS."""
    if len(rows) <= MAX_ROWS:
        return tuple(rows)
    chosen = sorted(rows, key=lambda row: (row.state == "ready", row.id))[:MAX_ROWS]
    return tuple(sorted(chosen, key=lambda row: row.id))


def traffic_of(
    declared: Deployment, wanted: Module, fleet: Fleet, memory: DeviceMemory
) -> tuple[Share, ...]:
    """What counts as live: the revision that devices are told to run. Empty: as it is."""
    own, goal, before = own_rollout(wanted, fleet, memory), declared.goal, memory.before
    if fleet.layer is None:
        return ()
    if own is None or own.state in ENDED:
        is_told = fleet.layer.module(wanted.name) == wanted
        is_there = is_told and is_settled(wanted, fleet.newest, fleet.devices)
        return (Share(goal, 100.0),) if is_there else ()
    if before in (0, goal):
        return ()
    if own.state not in ("running", "paused"):
        return (Share(before, 100.0),) if own.state != "aborted" else ()
    progress = fleet.progress
    percent = round(100.0 * progress.exposed / progress.devices, 1) if progress.devices else 0.0
    shares = (Share(before, round(100.0 - percent, 1)), Share(goal, percent))
    return tuple(share for share in shares if share.percent > 0)


def is_other_traffic(declared: Deployment, found: Sequence[Share]) -> bool:
    """Whether it must be written down. A revision that was forgotten cannot be."""
    known = {each.number for each in declared.revisions}
    is_known = all(share.revision in known for share in found)
    return bool(found) and is_known and tuple(found) != declared.traffic


def _row(declared: Deployment, wanted: Module, device: Device) -> Replica:
    report = device.report
    state, cause = _told(device, wanted)
    return Replica(
        device.name,
        revision_running(declared, None if report is None else report.digest),
        state,
        f"{device.name}:{report.port}" if report is not None and report.port else "",
        cause,
    )


def _told(device: Device, wanted: Module) -> tuple[ReplicaState, str]:
    report = device.report
    if not device.is_ours:
        return "failed", "another deployment of the hub decides what it runs"
    if device.error is not None:
        return "failed", device.error
    if not device.is_online:
        return "lost", f"it is offline{_since(device.last_seen_ms)}"
    if report is None:
        return "starting", NOT_YET if device.wanted is None else "it has said nothing of it yet"
    is_healthy = report.digest is not None and report.health == "healthy"
    if report.phase == "failed":
        cause = report.error or "it gave the new version up"
        return ("ready" if is_healthy else "failed"), cause
    if report.phase != "idle" and report.wanted == wanted.digest:
        cause = report.phase + (f" for {report.waiting_for}" if report.waiting_for else "")
        if report.phase == "pulling" and report.total_bytes:
            cause += f", {100 * (report.done_bytes or 0) // report.total_bytes} %"
        cause += f": {report.error}" if report.error else ""
        return ("ready" if is_healthy else "starting"), cause
    if is_healthy:
        return "ready", ""
    if report.health == "starting":
        return "starting", report.error or ""
    return "failed", report.error or f"it is {report.health}"


def _since(last_seen_ms: int | None) -> str:
    if last_seen_ms is None:
        return ", and was never there"
    try:
        found = datetime.fromtimestamp(last_seen_ms / 1000, UTC)
    except (ValueError, OverflowError, OSError):
        return ""
    return f" since {found:%Y-%m-%d %H:%M} UTC"


def _troubles(rows: Sequence[Replica]) -> str:
    """Of the first few that are not well."""
    found = [row for row in rows if row.state in ("failed", "lost") and row.cause]
    found += [row for row in rows if row.state == "starting" and row.cause not in ("", NOT_YET)]
    more = f"; and {len(found) - 3} more" if len(found) > 3 else ""
    return "; ".join(f"{row.id}: {row.cause}" for row in found[:3]) + more


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(names[:3]) + more
