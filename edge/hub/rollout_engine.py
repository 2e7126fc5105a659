"""Drives the rollouts of a hub, about once a second: looks at what devices report, decides with
rollout_steps.py, and makes it so. Also gives devices that are new, or have other tags, their state.

    engine = RolloutEngine(database)
    HubService(database, link, desired_for, chores=[engine])

Everything is in the database, and each tick that changes something is one transaction: a hub that
is killed at any moment goes on from before or after it.
"""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass

from edge.hub import publishing, rollout_rows
from edge.hub.database import Database, changes
from edge.hub.rollout_settling import settle
from edge.hub.rollout_states import Member, Rollout
from edge.hub.rollout_steps import Step, step


@dataclass(frozen=True, slots=True)
class _Planned:
    """A step that changes something."""

    before: Rollout
    known: dict[str, Member]
    step: Step


class RolloutEngine:
    """A chore of the hub (edge/hub/port.py)."""

    name = "rollouts"

    def __init__(self, database: Database, interval_s: float = 1.0) -> None:
        self.interval_s = interval_s
        self._database = database
        self._devices_count: int | None = None  # of the changes that were taken account of

    def run(self, now_ms: int) -> None:
        """As a chore."""
        self.tick(now_ms)

    def tick(self, now_ms: int) -> list[str]:
        """One round. Returns the devices whose desired state changed. Reads first, so that a round
        with nothing to do, which most are, holds nobody up. Raises HubError."""
        return [*self._follow_devices(now_ms), *self._step(now_ms)]

    def _follow_devices(self, now_ms: int) -> list[str]:
        with self._database.reader() as connection:
            count = changes(connection)["devices"]
            if count == self._devices_count:
                return []
            stale = [change.device for change in publishing.changes(connection)]
        changed: list[str] = []
        if stale:
            with self._database.writer() as connection:
                changed = publishing.refresh(
                    connection, stale, at_ms=now_ms, who="hub", cause="the device or its tags"
                )
        self._devices_count = count
        return changed

    def _step(self, now_ms: int) -> list[str]:
        with self._database.reader() as connection:
            if not _planned(connection, now_ms):
                return []
        changed: list[str] = []
        with self._database.writer() as connection:
            for planned in _planned(connection, now_ms):
                changed += settle(
                    connection,
                    planned.before,
                    planned.known,
                    planned.step,
                    at_ms=now_ms,
                    who=planned.before.by,
                )
        return changed


def _planned(connection: sqlite3.Connection, now_ms: int) -> list[_Planned]:
    found: list[_Planned] = []
    for rollout in rollout_rows.active(connection):
        known = rollout_rows.members(connection, rollout.id)
        seen = rollout_rows.seen(connection, rollout, known.values())
        after = step(rollout, known.values(), seen, now_ms)
        is_other = after.rollout != rollout or any(
            known[member.device] is not member for member in after.members
        )
        if is_other:
            found.append(_Planned(rollout, known, after))
    return found
