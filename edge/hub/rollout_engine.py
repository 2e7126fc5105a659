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

from edge.errors import EdgeError
from edge.hub import publishing, rollout_rows
from edge.hub.database import Database, changes
from edge.hub.rollout_settling import settle
from edge.hub.rollout_states import Member, Rollout
from edge.hub.rollout_steps import Step, step

BREAK_S = 60.0
"""Without a tick for so long, the hub was not there."""


@dataclass(frozen=True, slots=True)
class _Planned:
    """A step that changes something."""

    known: dict[str, Member]
    step: Step


class RolloutEngine:
    """A chore of the hub (edge/hub/port.py)."""

    name = "rollouts"

    def __init__(self, database: Database, interval_s: float = 1.0) -> None:
        self.interval_s = interval_s
        self._database = database
        self._devices_count: int | None = None  # of the changes that were taken account of
        self._listening_ms: int | None = None  # since when, without a break
        self._last_ms = 0

    def run(self, now_ms: int) -> None:
        """As a chore."""
        self.tick(now_ms)

    def tick(self, now_ms: int) -> list[str]:
        """One round. Returns the devices whose desired state changed. Reads first, so that a round
        with nothing to do, which most are, holds nobody up. What goes wrong with one rollout stops
        no other: the first error is raised at the end."""
        self._listen(now_ms)
        return [*self._follow_devices(now_ms), *self._step_all(now_ms)]

    def _listen(self, now_ms: int) -> None:
        """After a break, or a jump of the clock, it begins anew."""
        is_going_on = 0 <= now_ms - self._last_ms <= BREAK_S * 1000
        if self._listening_ms is None or not is_going_on:
            self._listening_ms = now_ms
        self._last_ms = now_ms

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

    def _step_all(self, now_ms: int) -> list[str]:
        with self._database.reader() as connection:
            waiting = [
                rollout.id
                for rollout in rollout_rows.active(connection)
                if self._planned(connection, rollout, now_ms) is not None
            ]
        changed: list[str] = []
        failed: EdgeError | None = None
        for id in waiting:
            try:
                changed += self._step(id, now_ms)
            except EdgeError as error:
                failed = failed or error
        if failed is not None:
            raise failed
        return changed

    def _step(self, id: int, now_ms: int) -> list[str]:
        with self._database.writer() as connection:
            rollout = rollout_rows.load(connection, id)
            planned = self._planned(connection, rollout, now_ms)
            if planned is None:
                return []
            return settle(
                connection, rollout, planned.known, planned.step, at_ms=now_ms, who=rollout.by
            )

    def _planned(
        self, connection: sqlite3.Connection, rollout: Rollout, now_ms: int
    ) -> _Planned | None:
        """Its next step; None when that changes nothing."""
        known = rollout_rows.members(connection, rollout.id)
        seen = rollout_rows.seen(connection, rollout, known.values())
        listening_s = (now_ms - (self._listening_ms or 0)) / 1000
        after = step(rollout, known.values(), seen, now_ms, listening_s)
        is_other = after.rollout != rollout or any(
            known[member.device] is not member for member in after.members
        )
        return _Planned(known, after) if is_other else None
