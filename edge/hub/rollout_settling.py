"""Makes a step of a rollout so: its states, the ledger, the layer when it is through, and the
desired states of the devices. One transaction, which the caller has open: all of it or nothing.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping

from msgspec.structs import replace

from edge.hub import deployment_rows, publishing, rollout_rows
from edge.hub.rollout_states import Member, Rollout
from edge.hub.rollout_steps import Step


def settle(
    connection: sqlite3.Connection,
    before: Rollout,
    known: Mapping[str, Member],
    step: Step,
    *,
    at_ms: int,
    who: str,
) -> list[str]:
    """``before`` and ``known``: rollout and members as they are stored. ``who``: for the ledger.
    Returns the devices whose desired state changed."""
    after = step.rollout
    rollout_rows.save(connection, after)
    changed = [each for each in step.members if known.get(each.device) != each]
    rollout_rows.save_members(connection, after.id, changed)
    _tell(connection, step, at_ms, who)
    if after.state == before.state:
        if not step.exposed:
            return []
        return _publish(connection, step, list(step.exposed), at_ms, who)
    if after.state == "completed":
        _set_layer(connection, after, to_new=True, at_ms=at_ms)
    elif before.state == "completed":
        _set_layer(connection, after, to_new=False, at_ms=at_ms)
    return _publish(connection, step, None, at_ms, who)


def _publish(
    connection: sqlite3.Connection, step: Step, devices: list[str] | None, at_ms: int, who: str
) -> list[str]:
    """The desired states; and each member whose state the rollout changes learns its version, so
    that an older report is not taken for an answer."""
    rollout = step.rollout
    what = f"batch {rollout.batch + 1}" if rollout.state == "running" else rollout.state
    refreshed = publishing.refresh(
        connection, devices, at_ms=at_ms, who=who, cause=f"{rollout.title}: {what}"
    )
    touched = {*step.exposed} if rollout.state == "running" else {*refreshed, *step.exposed}
    versions = dict(connection.execute("SELECT device, version FROM desired").fetchall())
    rollout_rows.save_members(
        connection,
        rollout.id,
        (
            replace(member, version=versions.get(member.device, 0))
            for member in step.members
            if member.device in touched and member.exposed_ms is not None
        ),
    )
    return refreshed


def _tell(connection: sqlite3.Connection, step: Step, at_ms: int, who: str) -> None:
    for event in step.events:
        deployment_rows.tell(
            connection,
            at_ms=at_ms,
            who=who,
            what=event.what,
            layer=step.rollout.layer,
            module=step.rollout.module,
            rollout=step.rollout.id,
            device=event.device,
            note=event.note,
        )


def _set_layer(
    connection: sqlite3.Connection, rollout: Rollout, *, to_new: bool, at_ms: int
) -> None:
    layer = deployment_rows.layer(connection, rollout.layer).layer
    module = rollout.new if to_new else rollout.old
    deployment_rows.put_layer(
        connection, layer.with_module(rollout.module, module), at_ms=at_ms, who=rollout.by
    )
