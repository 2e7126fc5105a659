"""Whom a workspace tells how its activities go: webhooks, and what they are still to be told.

    hooks = ActivityHooks(paths, database, clock)
    hook, secret = hooks.add("https://chat/hook", kinds=["image"], states=["failed"])
    for due in hooks.take(now, lease_s=60): ...           # POST due.body, then:
    hooks.done(due.id) or hooks.failed(due, "it answers 500", now)

What is to be told is a row that a trigger writes within the transaction that changes the activity
(registry/activity_events.sql): it is not lost, whichever process dies. It goes when the receiver
took it, or is given up after GIVE_UP_S. So a receiver may be told twice, by the same id.
"""

from __future__ import annotations

import base64
import json
import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import get_args

from registry import names
from registry.activities.record import State
from registry.clock import Clock
from registry.database import Database
from registry.deployments.hooks import check_url
from registry.deployments.sealing import Seal
from registry.errors import InvalidNameError, NotFoundError, TrustError
from registry.paths import WorkspacePaths

MOST_HOOKS = 50
MOST_WAITING = 1000
"""Of one hook; the oldest go."""
FIRST_WAIT_S, LONGEST_WAIT_S = 5.0, 3600.0
GIVE_UP_S = 3 * 24 * 3600.0
ENDED: tuple[State, ...] = ("succeeded", "failed", "cancelled")
MAX_SECRET_BYTES = 1024
Found = list["ActivityHook"]
Taken = list["Due"]


@dataclass(frozen=True, slots=True)
class ActivityHook:
    """``kinds``: none for all; ``waiting``: how many it has not been told; ``said``: why not, the
    last time."""

    id: int
    url: str
    kinds: tuple[str, ...]
    states: tuple[str, ...]
    made_at: str
    waiting: int
    said: str


@dataclass(frozen=True, slots=True)
class Due:
    """``secret``: opened. ``since``: when it was first tried, seconds since 1970."""

    id: int
    url: str
    body: bytes
    secret: bytes
    tries: int
    since: float


class ActivityHooks:
    """Those of one workspace."""

    def __init__(self, paths: WorkspacePaths, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock
        self._seal = Seal(paths.keys)

    def add(
        self,
        url: str,
        *,
        kinds: Sequence[str] = (),
        states: Sequence[str] = ENDED,
        secret: bytes | None = None,
        random: Callable[[int], bytes],
    ) -> tuple[ActivityHook, bytes]:
        """A new one, and the secret that signs what it is sent: made where none is given. Raises
        InvalidNameError, TrustError."""
        check_url(url, "the webhook")
        for kind in kinds:
            names.check_name(kind, "kind of activity")
        wrong = sorted(set(states) - set(get_args(State)))
        if wrong or not states:
            raise InvalidNameError(
                f"{', '.join(wrong) or 'nothing'} is no state of an activity; there are"
                f" {', '.join(get_args(State))}"
            )
        if secret is None:
            secret = b"whsec_" + base64.b64encode(random(24))
        if not secret.strip() or len(secret) > MAX_SECRET_BYTES:
            raise InvalidNameError(f"the secret is empty or longer than {MAX_SECRET_BYTES} bytes")
        sealed = self._seal.close(secret)
        with self._database.write() as connection:
            [count] = connection.execute("SELECT count(*) FROM activity_hooks").fetchone()
            if count >= MOST_HOOKS:
                raise InvalidNameError(f"a workspace has at most {MOST_HOOKS} hooks; delete one")
            lists = [json.dumps(sorted(set(each))) for each in (kinds, states)]
            [id] = connection.execute(
                "INSERT INTO activity_hooks (url, kinds, states, sealed, made_at)"
                " VALUES (?, ?, ?, ?, ?) RETURNING id",
                (url, *lists, sealed, self._clock()),
            ).fetchone()
            return _hook(connection, id), secret

    def list(self) -> Found:
        """The oldest first."""
        with self._database.read() as connection:
            ids = connection.execute("SELECT id FROM activity_hooks ORDER BY id").fetchall()
            return [_hook(connection, row["id"]) for row in ids]

    def delete(self, id: int) -> ActivityHook:
        """With all that it was still to be told. Raises NotFoundError."""
        with self._database.write() as connection:
            found = _hook(connection, id)
            connection.execute("DELETE FROM activity_hooks WHERE id = ?", (id,))
        return found

    def is_any_due(self, now: float) -> bool:
        """Whether ``take`` would give some: one row of an index."""
        with self._database.read() as connection:
            row = connection.execute(
                "SELECT 1 FROM activity_outbox WHERE due_at <= ? LIMIT 1", (now,)
            ).fetchone()
        return row is not None

    def take(self, now: float, *, lease_s: float, limit: int = 20) -> Taken:
        """Some that are due, which nobody else takes for ``lease_s`` seconds; then they are due
        again, as their taker has died."""
        with self._database.write() as connection:
            connection.execute(
                "DELETE FROM activity_outbox WHERE since > 0 AND since < ?", (now - GIVE_UP_S,)
            )
            for row in connection.execute(
                "SELECT hook, max(id) AS newest FROM activity_outbox GROUP BY hook"
                " HAVING count(*) > ?",
                (MOST_WAITING,),
            ).fetchall():
                connection.execute(
                    "DELETE FROM activity_outbox WHERE hook = ?1 AND id NOT IN (SELECT id FROM"
                    " activity_outbox WHERE hook = ?1 ORDER BY id DESC LIMIT ?2)",
                    (row["hook"], MOST_WAITING),
                )
            rows = connection.execute(
                "SELECT o.id, h.url, o.body, h.sealed, o.tries, o.since FROM activity_outbox o"
                " JOIN activity_hooks h ON h.id = o.hook WHERE o.due_at <= ?"
                " ORDER BY o.due_at, o.id LIMIT ?",
                (now, limit),
            ).fetchall()
            connection.executemany(
                "UPDATE activity_outbox SET due_at = ?, since = ? WHERE id = ?",
                [(now + lease_s, row["since"] or now, row["id"]) for row in rows],
            )
        found = []
        for row in rows:
            since = row["since"] or now
            due = Due(row["id"], row["url"], row["body"].encode(), b"", row["tries"], since)
            try:
                found.append(replace(due, secret=self._seal.open(row["sealed"])))
            except TrustError:  # as in a workspace that was restored without its keys
                self.failed(due, "its secret cannot be opened: delete the hook, add it anew", now)
        return found

    def done(self, id: int) -> None:
        """The receiver took it."""
        with self._database.write() as connection:
            connection.execute("DELETE FROM activity_outbox WHERE id = ?", (id,))

    def failed(self, due: Due, said: str, now: float) -> None:
        """It is tried again later and later."""
        with self._database.write() as connection:
            connection.execute(
                "UPDATE activity_outbox SET tries = ?, due_at = ?, said = ? WHERE id = ?",
                (due.tries + 1, now + wait_s(due.tries + 1), said[:300], due.id),
            )


def wait_s(tries: int) -> float:
    """Until the next try after ``tries`` of them."""
    return float(min(FIRST_WAIT_S * 2 ** min(tries - 1, 20), LONGEST_WAIT_S))


def _hook(connection: sqlite3.Connection, id: int) -> ActivityHook:
    row = connection.execute("SELECT * FROM activity_hooks WHERE id = ?", (id,)).fetchone()
    if row is None:
        raise NotFoundError(f"there is no hook {id}; see inferry activity hook list")
    [waiting] = connection.execute(
        "SELECT count(*) FROM activity_outbox WHERE hook = ?", (id,)
    ).fetchone()
    last = connection.execute(
        "SELECT said FROM activity_outbox WHERE hook = ? AND said <> '' ORDER BY id DESC LIMIT 1",
        (id,),
    ).fetchone()
    kinds, states = json.loads(row["kinds"]), json.loads(row["states"])
    said = "" if last is None else last["said"]
    return ActivityHook(
        row["id"], row["url"], tuple(kinds), tuple(states), row["made_at"], waiting, said
    )
