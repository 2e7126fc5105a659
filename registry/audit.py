"""The audit log: who asked the service for what change, from where, and how it was answered.

Rows are only added; the oldest go when there are more than KEPT. What was refused has a bound of
its own: whoever may do nothing cannot push out what others did."""

from __future__ import annotations

from dataclasses import dataclass

from registry.clock import Clock, utc_now
from registry.database import Database

KEPT, KEPT_REFUSED = 200_000, 50_000
_TRIM_EVERY = 1000
_REFUSED = 403
_TRIM = f"""
DELETE FROM audit WHERE (status = {_REFUSED}) = ?1 AND id <=
 (SELECT id FROM audit WHERE (status = {_REFUSED}) = ?1 ORDER BY id DESC LIMIT 1 OFFSET ?2)
"""
MAX_PATH_CHARS = 500


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """One request. ``route`` is the name of what was asked, ``path`` what was asked it of,
    ``client`` the address that it came from, and ``status`` that of the answer; 0 is that of a
    request whose end was not seen: the service ended in its midst."""

    id: int
    at: str
    who: str
    role: str
    client: str
    method: str
    route: str
    path: str
    status: int


class Audit:
    """The audit log of one workspace."""

    def __init__(self, database: Database, clock: Clock = utc_now) -> None:
        self._database = database
        self._clock = clock

    def begin(self, *, who: str, role: str, client: str, method: str, route: str, path: str) -> int:
        """Write down what is about to be done; it is on the disk when this returns. Raises
        StoreFullError and so on: what cannot be written down is not to be done."""
        with self._database.write() as connection:
            row = connection.execute(
                "INSERT INTO audit (at, who, role, client, method, route, path, status)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, 0)",
                (self._clock(), who, role, client, method, route, path[:MAX_PATH_CHARS]),
            )
            newest = row.lastrowid or 0
            if newest % _TRIM_EVERY == 0:
                for is_refused, kept in ((0, KEPT), (1, KEPT_REFUSED)):
                    connection.execute(_TRIM, (is_refused, kept))
        return newest

    def end(self, id: int, status: int) -> None:
        """How it was answered."""
        with self._database.write() as connection:
            connection.execute("UPDATE audit SET status = ? WHERE id = ?", (status, id))

    def list(
        self, *, who: str | None = None, before: int | None = None, limit: int = 100
    ) -> list[AuditEntry]:
        """The newest first; ``before`` is the id of the last one of the page before."""
        with self._database.read() as connection:
            rows = connection.execute(
                "SELECT * FROM audit WHERE (? IS NULL OR who = ?) AND (? IS NULL OR id < ?)"
                " ORDER BY id DESC LIMIT ?",
                (who, who, before, before, limit),
            ).fetchall()
        return [AuditEntry(**dict(row)) for row in rows]
