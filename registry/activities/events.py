"""What changed of a workspace's activities since somebody looked.

    events, cursor = changes_since(database, 0)
    ...
    events, cursor = changes_since(database, cursor)      # [] while nothing changed

Each activity has the number of its last change, which triggers of the database write
(registry/activity_events.sql), so that a change is seen whichever process made it. Between two
looks only the last change of an activity is told. To look costs one row of an index.
"""

from __future__ import annotations

from dataclasses import dataclass

from registry.activities.record import Activity
from registry.activities.rows import COLUMNS
from registry.database import Database

MOST = 500
_NEWER = f"""
SELECT c.seq, {COLUMNS} FROM activity_changes c JOIN activities a ON a.id = c.activity
WHERE c.seq > ?1 ORDER BY c.seq LIMIT ?2
"""


@dataclass(frozen=True, slots=True)
class Change:
    """``cursor``: to go on behind this one."""

    cursor: int
    activity: Activity


def changes_since(
    database: Database, cursor: int, *, limit: int = MOST
) -> tuple[list[Change], int]:
    """The changes after ``cursor`` (0: how all activities are), the oldest first, and the next
    cursor. One that is larger than any there is, as after a restored backup, begins anew. An
    activity whose process died changes once somebody settles it (``Activities.settle``)."""
    with database.read() as connection:
        [last] = connection.execute("SELECT ifnull(max(seq), 0) FROM activity_changes").fetchone()
        if cursor == last:
            return [], cursor
        after = cursor if 0 <= cursor < last else 0
        rows = connection.execute(_NEWER, (after, limit)).fetchall()
    found = [Change(row[0], Activity(*row[1:])) for row in rows]
    return found, found[-1].cursor if found else int(last)
