"""The rows of activities: how they are read, written and thrown away."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

from registry import names
from registry.activities.record import Activity, End
from registry.errors import NotFoundError

KEPT = 500
COLUMNS = (
    "a.id, a.kind, a.subject, a.state, a.phase, a.done, a.total, a.cause, a.started_at,"
    " a.ended_at, a.begun_by, a.resumes, (SELECT r.id FROM activities r WHERE r.resumes = a.id"
    " ORDER BY r.started_at DESC, r.rowid DESC LIMIT 1)"
)
"""Of ``activities a``."""
_NEWEST_FIRST = "ORDER BY started_at DESC, rowid DESC"
Found = list[Activity]


def insert(connection: sqlite3.Connection, activity: Activity, origin: str | None = None) -> None:
    """A new one; ``origin`` as origin.py encodes it."""
    connection.execute(
        "INSERT INTO activities (id, kind, subject, state, started_at, begun_by, origin, resumes)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        (
            activity.id,
            activity.kind,
            activity.subject,
            activity.state,
            activity.started_at,
            activity.begun_by,
            origin,
            activity.resumes,
        ),
    )


def write_end(
    connection: sqlite3.Connection, id: str, end: End, progress: tuple[str, int, int] | None = None
) -> None:
    """How a running one ended, and with ``progress`` how far it came."""
    phase, done, total = progress or (None, None, None)
    connection.execute(
        "UPDATE activities SET state = ?, cause = ?, ended_at = ?, phase = ifnull(?, phase),"
        " done = ifnull(?, done), total = ifnull(?, total) WHERE id = ? AND state = 'running'",
        (end.state, end.cause, end.ended_at, phase, done, total, id),
    )


def ask_to_cancel(connection: sqlite3.Connection, id: str) -> None:
    """Its process looks now and then."""
    connection.execute("UPDATE activities SET cancel_requested = 1 WHERE id = ?", (id,))


def find(connection: sqlite3.Connection, ref: str) -> Activity:
    """The activity with this id, or the only one whose id begins so. Raises NotFoundError."""
    names.check_name(ref, "activity")
    rows = connection.execute(
        f"SELECT {COLUMNS} FROM activities a WHERE substr(id, 1, length(?1)) = ?1 LIMIT 2", (ref,)
    ).fetchall()
    exact = [row for row in rows if row["id"] == ref] or rows
    if not exact:
        raise NotFoundError(f"there is no activity {ref}; see inferry activity list")
    if len(exact) > 1:
        raise NotFoundError(f"several activities begin with {ref}; say more of the id")
    return Activity(*exact[0])


def origin(connection: sqlite3.Connection, id: str) -> str | None:
    """What it was begun with, as it was inserted."""
    row = connection.execute("SELECT origin FROM activities WHERE id = ?", (id,)).fetchone()
    return None if row is None or row[0] is None else str(row[0])


def select(
    connection: sqlite3.Connection,
    *,
    kind: str | None = None,
    running_only: bool = False,
    limit: int = -1,
) -> Found:
    """The newest first."""
    rows = connection.execute(
        f"SELECT {COLUMNS} FROM activities a WHERE (?1 IS NULL OR kind = ?1)"
        f" AND (NOT ?2 OR state = 'running') {_NEWEST_FIRST} LIMIT ?3",
        (kind, running_only, limit),
    )
    return [Activity(*row) for row in rows]


def ids(connection: sqlite3.Connection) -> set[str]:
    """All of them."""
    return {row[0] for row in connection.execute("SELECT id FROM activities")}


def trim(connection: sqlite3.Connection, kept: int) -> Sequence[str]:
    """Forget all but the newest ``kept`` and what runs; the ids of those that are gone."""
    rows = connection.execute(
        "DELETE FROM activities WHERE state <> 'running' AND id NOT IN"
        f" (SELECT id FROM activities {_NEWEST_FIRST} LIMIT ?) RETURNING id",
        (kept,),
    )
    return [row[0] for row in rows.fetchall()]
