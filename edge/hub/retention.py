"""What is removed of the hub's database: the oldest telemetry, by age and by size in all, and old
gaps and commands. A chore of the service.
"""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass

from edge.hub.database import Database

AT_ONCE = 200
"""Segments in one transaction, so that ingest waits for milliseconds only."""


@dataclass(frozen=True, slots=True)
class Retention:
    """``max_bytes``: of telemetry, deflated as it is stored."""

    database: Database
    max_age_s: float = 30 * 86_400.0
    max_bytes: int = 20 * 1024**3
    interval_s: float = 60.0
    name: str = "retention"

    def run(self, now_ms: int) -> None:
        """Until nothing is left to remove. Raises HubError."""
        before_ms = now_ms - int(self.max_age_s * 1000)
        with self.database.writer() as connection:
            connection.execute("DELETE FROM gaps WHERE received_ms < ?", (before_ms,))
            connection.execute("DELETE FROM commands WHERE expires_ms < ?", (before_ms,))
        while True:
            with self.database.writer() as connection:
                if self._drop_some(connection, before_ms) < AT_ONCE:
                    return

    def _drop_some(self, connection: sqlite3.Connection, before_ms: int) -> int:
        size = connection.execute("SELECT value FROM totals WHERE name = 'size_bytes'").fetchone()
        rows = connection.execute(
            "SELECT id, records, length(payload), received_ms FROM segments ORDER BY id LIMIT ?",
            (AT_ONCE,),
        ).fetchall()
        ids, records, dropped = [], 0, 0
        for id, count, length, received_ms in rows:
            if received_ms >= before_ms and size[0] - dropped <= self.max_bytes:
                break
            ids.append((id,))
            records += count
            dropped += length
        connection.executemany("DELETE FROM segments WHERE id = ?", ids)
        connection.executemany(
            "UPDATE totals SET value = value + ? WHERE name = ?",
            [
                (-records, "records"),
                (-dropped, "size_bytes"),
                (records, "dropped_records"),
                (dropped, "dropped_bytes"),
            ],
        )
        return len(ids)
