"""Rollouts and their members in the hub's database, and what their devices report."""

from __future__ import annotations

import dataclasses
import sqlite3
from collections import Counter
from collections.abc import Iterable, Sequence

import msgspec
from msgspec.structs import replace

from edge.errors import NotFoundError
from edge.hub.rollout_states import ACTIVE, ENDED, Member, Rollout
from edge.hub.rollout_steps import Seen
from edge.layering import for_device
from edge.messages.desired import Module, Settings
from edge.messages.reported import ModuleReport

Counts = Counter[tuple[str, bool]]
"""Of members by (outcome, whether they were exposed)."""


class DesiredState(msgspec.Struct, frozen=True):
    """What is stored of a desired state: devices that run the same share it. Its bytes tell whether
    two are equal, so nothing is left out that could be said in two ways."""

    modules: tuple[Module, ...] = ()
    settings: Settings = Settings()


class _Report(msgspec.Struct):
    """The part of a Reported that a rollout needs."""

    desired_version: int
    applied_version: int
    modules: list[ModuleReport]


def insert(connection: sqlite3.Connection, rollout: Rollout, members: Sequence[Member]) -> Rollout:
    """A new one; returns it with its number."""
    cursor = connection.execute(
        "INSERT INTO rollouts (layer, module, state, body) VALUES (?, ?, ?, x'')",
        (rollout.layer, rollout.module, rollout.state),
    )
    numbered = replace(rollout, id=int(cursor.lastrowid or 0))
    save(connection, numbered)
    save_members(connection, numbered.id, members)
    return numbered


def save(connection: sqlite3.Connection, rollout: Rollout) -> None:
    """In place of what was stored of it."""
    connection.execute(
        "UPDATE rollouts SET state = ?, body = ? WHERE id = ?",
        (rollout.state, msgspec.json.encode(rollout), rollout.id),
    )


def save_members(
    connection: sqlite3.Connection, rollout_id: int, members: Iterable[Member]
) -> None:
    """Each in place of what was stored of it; others stay."""
    connection.executemany(
        "INSERT OR REPLACE INTO members (rollout, device, body) VALUES (?, ?, ?)",
        ((rollout_id, member.device, msgspec.json.encode(member)) for member in members),
    )


def load(connection: sqlite3.Connection, rollout_id: int) -> Rollout:
    """Raises NotFoundError."""
    row = connection.execute("SELECT body FROM rollouts WHERE id = ?", (rollout_id,)).fetchone()
    if row is None:
        raise NotFoundError(f"there is no rollout {rollout_id}")
    return _rollouts.decode(row[0])


def all_rollouts(connection: sqlite3.Connection) -> list[Rollout]:
    """The oldest first."""
    return [
        _rollouts.decode(row[0])
        for row in connection.execute("SELECT body FROM rollouts ORDER BY id")
    ]


def active(connection: sqlite3.Connection) -> list[Rollout]:
    """Those that the engine has something to do for."""
    marks = ", ".join("?" * len(ACTIVE))
    return [
        _rollouts.decode(row[0])
        for row in connection.execute(
            f"SELECT body FROM rollouts WHERE state IN ({marks}) ORDER BY id", ACTIVE
        )
    ]


def current(connection: sqlite3.Connection) -> dict[tuple[str, str], Rollout]:
    """By layer and module, the one that says what devices run."""
    marks = ", ".join("?" * len(ENDED))
    found = [
        _rollouts.decode(row[0])
        for row in connection.execute(
            f"SELECT body FROM rollouts WHERE state NOT IN ({marks}) ORDER BY id", ENDED
        )
    ]
    return {(rollout.layer, rollout.module): rollout for rollout in found}


def newest_id(connection: sqlite3.Connection, layer: str, module: str) -> int:
    """Of this module of this layer; 0: there is none."""
    row = connection.execute(
        "SELECT max(id) FROM rollouts WHERE layer = ? AND module = ?", (layer, module)
    ).fetchone()
    return int(row[0] or 0)


def members(
    connection: sqlite3.Connection, rollout_id: int, devices: Sequence[str] | None = None
) -> dict[str, Member]:
    """By device. ``devices``: only these."""
    if devices is None or len(devices) > 500:
        rows = connection.execute("SELECT body FROM members WHERE rollout = ?", (rollout_id,))
    else:
        marks = ", ".join("?" * len(devices))
        rows = connection.execute(
            f"SELECT body FROM members WHERE rollout = ? AND device IN ({marks})",
            (rollout_id, *devices),
        )
    decoded = (_members.decode(row[0]) for row in rows)
    return {member.device: member for member in decoded}


def counts(connection: sqlite3.Connection, rollout_id: int | None = None) -> dict[int, Counts]:
    """By rollout, of this one or of all, how many members of each kind there are."""
    found: dict[int, Counts] = {}
    for rollout, outcome, is_exposed, number in connection.execute(
        "SELECT rollout, coalesce(json_extract(CAST(body AS TEXT), '$.outcome'), 'pending'),"
        " json_extract(CAST(body AS TEXT), '$.exposed_ms') IS NOT NULL, count(*)"
        " FROM members WHERE ?1 IS NULL OR rollout = ?1 GROUP BY 1, 2, 3",
        (rollout_id,),
    ):
        found.setdefault(rollout, Counter())[outcome, bool(is_exposed)] = number
    return found


def modules_in_use(connection: sqlite3.Connection) -> list[Module]:
    """What devices shall run now, and what a roll back would give them again, also where no layer
    says it any more: images of these must be kept."""
    states = connection.execute(
        "SELECT DISTINCT state FROM desired JOIN devices ON devices.name = desired.device"
        " WHERE state IS NOT NULL"
    ).fetchall()
    found = [module for row in states for module in state_of(connection, row[0]).modules]
    for rollout in current(connection).values():
        found += [each for each in (rollout.old, rollout.new) if each is not None]
        bases = (member.base for member in members(connection, rollout.id).values())
        found += [base for base in bases if base is not None]
    known = {(each.name, each.digest, each.variants): each for each in found}
    return list(known.values())


def seen(
    connection: sqlite3.Connection, rollout: Rollout, members: Iterable[Member]
) -> dict[str, Seen]:
    """The devices that there are. Only of those that were exposed is their report looked at."""
    exposed = {member.device for member in members if member.exposed_ms is not None}
    modules: dict[str | None, tuple[Module, ...]] = {None: ()}
    found: dict[str, Seen] = {}
    for name, tags, is_online, reported, state, error in connection.execute(
        "SELECT devices.name, devices.tags, devices.online, devices.reported, desired.state,"
        " desired.error"
        " FROM devices LEFT JOIN desired ON desired.device = devices.name"
    ):
        if name not in exposed:
            found[name] = Seen(is_online=bool(is_online))
            continue
        if state not in modules:
            modules[state] = state_of(connection, state).modules
        its = _tags.decode(tags)
        new = for_device(rollout.new, name, its)
        known = Seen(bool(is_online), new in modules[state], error, tags=its)
        found[name] = _with_report(known, rollout.module, reported)
    return found


def _with_report(known: Seen, module: str, reported: bytes | None) -> Seen:
    if reported is None:
        return known
    try:
        report = _reports.decode(reported)
    except msgspec.MsgspecError:
        return known
    return dataclasses.replace(
        known,
        desired_version=report.desired_version,
        applied_version=report.applied_version,
        report=next((each for each in report.modules if each.name == module), None),
    )


def state_of(connection: sqlite3.Connection, digest: str) -> DesiredState:
    """A desired state that is stored."""
    row = connection.execute("SELECT body FROM states WHERE digest = ?", (digest,)).fetchone()
    return _states.decode(row[0])


_rollouts = msgspec.json.Decoder(Rollout)
_members = msgspec.json.Decoder(Member)
_reports = msgspec.json.Decoder(_Report)
_states = msgspec.json.Decoder(DesiredState)
_tags = msgspec.json.Decoder(dict[str, str])
