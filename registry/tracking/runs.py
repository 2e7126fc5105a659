"""Runs: what was run, how it went, and what it logged.

    run, life = runs.begin("digits", name="first try", user="ada", source="train.py")
    runs.log(run.id, points=[("loss", 0.5, 0, 1764230400000)], params={"depth": "3"})
    runs.end(run.id, "finished")

Every method is one transaction that is on the disk when it returns. A run is named by its id where
programs speak, and by ``EXPERIMENT:NUMBER`` or the beginning of an id where a person may.
"""

from __future__ import annotations

import hashlib
import json
import secrets
import sqlite3
from collections.abc import Callable, Mapping, Sequence

from registry.blobs import disk_errors_said
from registry.database import Database
from registry.errors import (
    ImmutableError,
    InUseError,
    StoreFullError,
    WorkspaceBusyError,
    WorkspaceDamagedError,
)
from registry.pages import Page, check_limit, key_of, token_of
from registry.tracking import metrics, run_rows, search
from registry.tracking.lives import MAX_CAUSE_CHARS, End, Life, Lives
from registry.tracking.making import NewRun, insert
from registry.tracking.now import NowMs
from registry.tracking.points import check_points
from registry.tracking.records import (
    Point,
    RunPage,
    RunRecord,
    Status,
    Value,
    View,
)
from registry.tracking.settling import Settling, as_it_is, write_end
from registry.tracking.words import (
    check_document,
    check_id,
    check_integer,
    check_key,
    check_kind,
    check_params,
    check_run_name,
    check_tags,
)

PAGE = 1000
CHILDREN = "child runs"
"""What page tokens say that they are of."""


class Runs:
    """Those of one workspace."""

    def __init__(
        self,
        database: Database,
        lives: Lives,
        now_ms: NowMs,
        random_id: Callable[[], str] = lambda: secrets.token_hex(16),
    ) -> None:
        self._database = database
        self._lives = lives
        self._now_ms = now_ms
        self._random_id = random_id
        self._settling = Settling(database, lives)

    # Beginning and end.

    def create(
        self,
        experiment: str | int,
        *,
        name: str = "",
        parent: str | None = None,
        user: str = "",
        source: str = "",
        status: Status = "running",
        started_ms: int | None = None,
        tags: Mapping[str, str] | None = None,
        params: Mapping[str, str] | None = None,
        properties: Mapping[str, str] | None = None,
    ) -> RunRecord:
        """A new run that no process is known of: it is what ``update`` says. ``experiment`` is a
        name, which appears if it is new, or the id of one that is there. ``parent`` is the id of
        the run that it is a child of. Raises InvalidNameError, NotFoundError."""
        new = NewRun(
            experiment,
            name,
            parent,
            user,
            source,
            status,
            started_ms,
            tags or {},
            params or {},
            properties or {},
        )
        new.check()
        return self._insert(new, self._random_id(), has_life=False)

    def schedule(
        self,
        experiment: str,
        *,
        name: str = "",
        user: str = "",
        source: str = "",
        tags: Mapping[str, str] | None = None,
        params: Mapping[str, str] | None = None,
        id: str | None = None,
    ) -> RunRecord:
        """A new run that is yet to begin: ``take`` begins it. ``id``: 32 hexadecimal digits that no
        run has; None: chosen here. Raises as ``create``."""
        new = NewRun(
            experiment, name, None, user, source, "scheduled", None, tags or {}, params or {}, {}
        )
        new.check()
        id = self._random_id() if id is None else check_id(id)
        return self._insert(new, id, has_life=False)

    def begin(
        self,
        experiment: str | int,
        *,
        name: str = "",
        parent: str | None = None,
        user: str = "",
        source: str = "",
        started_ms: int | None = None,
        tags: Mapping[str, str] | None = None,
        params: Mapping[str, str] | None = None,
        properties: Mapping[str, str] | None = None,
        id: str | None = None,
    ) -> tuple[RunRecord, Life]:
        """A new run of this process: it has failed when the process ends without saying how it
        ended. ``id``: 32 hexadecimal digits that no run has; None: chosen here. Raises as
        ``create``, and StoreFullError."""
        new = NewRun(
            experiment,
            name,
            parent,
            user,
            source,
            "running",
            started_ms,
            tags or {},
            params or {},
            properties or {},
        )
        new.check()
        id = self._random_id() if id is None else check_id(id)
        with disk_errors_said():
            life = self._lives.hold(id)
        try:
            return self._insert(new, id, has_life=True), life
        except BaseException:
            life.cut()
            raise

    def take(self, id: str) -> tuple[RunRecord, Life]:
        """Run a scheduled run, or one that has ended once more, in this process. Raises
        NotFoundError, LifeTakenError."""
        with disk_errors_said(), self._database.write() as connection:
            key = run_rows.key_of(connection, check_id(id))
            life = self._lives.hold(id)
            try:
                connection.execute(
                    "UPDATE runs SET status = 'running', cause = NULL, ended_ms = NULL,"
                    " has_life = 1, cancel_requested = 0 WHERE key = ?",
                    (key,),
                )
                return self._record(connection, key), life
            except BaseException:
                life.cut()
                raise

    def end(
        self,
        id: str,
        status: Status,
        *,
        cause: str | None = None,
        ended_ms: int | None = None,
        life: Life | None = None,
    ) -> RunRecord | None:
        """How it ended. A full disk keeps its ``life`` from being forgotten, and is None then: the
        next writer takes the end from there. Raises NotFoundError."""
        now = self._now_ms() if ended_ms is None else ended_ms
        end = End(status, None if cause is None else cause[:MAX_CAUSE_CHARS], now)
        try:
            with self._database.write() as connection:
                key = run_rows.key_of(connection, id)
                write_end(connection, key, end)
                record = self._record(connection, key)
        except (StoreFullError, WorkspaceBusyError, WorkspaceDamagedError):
            if life is None:
                raise
            life.leave(end)
            return None
        if life is not None:
            life.cut()
        return record

    def update(
        self,
        id: str,
        *,
        status: Status | None = None,
        ended_ms: int | None = None,
        name: str | None = None,
    ) -> RunRecord:
        """Change how it is, or what it is called. One that ended can run again."""
        if name is not None:
            check_run_name(name)
        with self._database.write() as connection:
            key = run_rows.key_of(connection, id)
            if status in ("finished", "failed", "killed"):
                now = self._now_ms() if ended_ms is None else ended_ms
                write_end(connection, key, End(status, None, now))
            elif status is not None:
                connection.execute(
                    "UPDATE runs SET status = ?, cause = NULL, ended_ms = NULL, has_life = 0"
                    " WHERE key = ? AND status <> ?",
                    (status, key, status),
                )
            if name is not None:
                connection.execute("UPDATE runs SET name = ? WHERE key = ?", (name, key))
            return self._record(connection, key)

    def cancel(self, ref: str) -> RunRecord:
        """Ask for the end of one; its process looks now and then. Raises ImmutableError when it has
        ended."""
        self._settling.settle()
        with self._database.write() as connection:
            key = run_rows.find_key(connection, ref)
            run = self._record(connection, key)
            if run.has_ended:
                raise ImmutableError(f"run {run.reference} has ended already: {run.status}")
            connection.execute("UPDATE runs SET cancel_requested = 1 WHERE key = ?", (key,))
            return self._record(connection, key)

    def is_cancelled(self, id: str) -> bool:
        """Whether someone asked for its end."""
        with self._database.read() as connection:
            key = run_rows.key_of(connection, id)
            row = connection.execute("SELECT cancel_requested FROM runs WHERE key = ?", (key,))
            return bool(row.fetchone()[0])

    # What it says.

    def log(
        self,
        id: str,
        *,
        points: Sequence[Point] = (),
        values: Sequence[Value] = (),
        params: Mapping[str, str] | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> None:
        """All of it, or nothing. Raises NotFoundError, InvalidNameError, and ImmutableError for a
        param that has another value."""
        check_points(points)
        for key, kind, at_ms, document in values:
            check_kind(kind)
            check_document(document, check_key(key, "metric"))
            check_integer(at_ms, f"the time of '{key}'")
        checked_params, checked_tags = check_params(params or {}), check_tags(tags or {})
        with self._database.write() as connection:
            run = run_rows.key_of(connection, id)
            if points:
                metrics.write_points(connection, run, points)
            if values:
                metrics.write_values(connection, run, values)
            if checked_params:
                run_rows.set_params(connection, run, checked_params)
            if checked_tags:
                run_rows.set_tags(connection, run, checked_tags)

    def tag(
        self, ref: str, *, set: Mapping[str, str] | None = None, remove: Sequence[str] = ()
    ) -> RunRecord:
        """Set and remove tags. Removing one that is not there does nothing."""
        checked = check_tags(set or {})
        with self._database.write() as connection:
            key = run_rows.find_key(connection, ref)
            run_rows.remove_tags(connection, key, remove)
            run_rows.set_tags(connection, key, checked)
            return self._record(connection, key)

    def append_to_tag(self, id: str, tag: str, document: str) -> None:
        """One more in the list, in JSON, that is the value of a tag; what is the last one already
        is not added again. Raises NotFoundError, InvalidNameError, ImmutableError for a run that is
        deleted."""
        added = json.loads(document)
        with self._database.write() as connection:
            key = run_rows.active_key_of(connection, id)
            row = connection.execute(
                "SELECT value FROM run_tags WHERE run = ? AND key = ?", (key, tag)
            ).fetchone()
            before = [] if row is None else _listed(row[0])
            if before[-1:] != [added]:
                value = json.dumps([*before, added], ensure_ascii=False)
                run_rows.set_tags(connection, key, check_tags({tag: value}))

    def add_properties(self, ref: str, properties: Mapping[str, str]) -> RunRecord:
        """Add properties. Raises ImmutableError when one is there with another value."""
        checked = check_tags(properties, "property")
        with self._database.write() as connection:
            key = run_rows.find_key(connection, ref)
            run_rows.add_properties(connection, key, checked)
            return self._record(connection, key)

    def describe(
        self, id: str, *, revision: str | None = None, environment: str | None = None
    ) -> None:
        """What it was started from: a git commit, and what is installed, as a JSON document. Runs
        of one environment keep it once."""
        if environment is not None:
            check_document(environment, "environment")
        with self._database.write() as connection:
            key = run_rows.key_of(connection, id)
            digest = None
            if environment is not None:
                digest = f"sha256:{hashlib.sha256(environment.encode()).hexdigest()}"
                connection.execute(
                    "INSERT OR IGNORE INTO environments VALUES (?, ?)", (digest, environment)
                )
            connection.execute(
                "UPDATE runs SET revision = ifnull(?, revision),"
                " environment = ifnull(?, environment) WHERE key = ?",
                (revision, digest, key),
            )

    # Looking.

    def get(self, ref: str) -> RunRecord:
        """The run ``EXPERIMENT:NUMBER``, with this id, or the only one whose id begins so. Raises
        NotFoundError."""
        dead = self._settling.settle()
        with self._database.read() as connection:
            found = self._record(connection, run_rows.find_key(connection, ref))
        return as_it_is(found, dead)

    def search(
        self,
        *,
        experiments: Sequence[int] | None = None,
        filter: str = "",
        order_by: Sequence[str] = (),
        view: View = "active",
        limit: int = PAGE,
        token: str | None = None,
    ) -> RunPage:
        """The newest first, unless ``order_by`` says otherwise (registry/tracking/filter.py has the
        words). ``experiments`` are ids. Raises InvalidNameError."""
        wanted = search.plan(
            filter=filter,
            order_by=order_by,
            experiments=experiments,
            view=view,
            limit=limit,
            token=token,
        )
        dead = self._settling.settle()
        with self._database.read() as connection:
            page = search.find(connection, wanted)
        return RunPage(tuple(as_it_is(run, dead) for run in page.runs), page.next_token)

    def children(self, ref: str, *, recursive: bool = False) -> list[RunRecord]:
        """Its child runs in the order in which they were made, and theirs. Raises
        NotFoundError."""
        dead = self._settling.settle()
        with self._database.read() as connection:
            key = run_rows.find_key(connection, ref)
            found = search.records(connection, _descendants(connection, key, recursive))
        return [as_it_is(run, dead) for run in found]

    def children_page(
        self, ref: str, *, recursive: bool = False, limit: int, token: str | None = None
    ) -> Page[RunRecord]:
        """At most ``limit`` of ``children`` that follow. Raises NotFoundError,
        InvalidNameError."""
        check_limit(limit, CHILDREN)
        after = 0 if token is None else key_of(CHILDREN, token)[1]
        dead = self._settling.settle()
        with self._database.read() as connection:
            key = run_rows.find_key(connection, ref)
            keys = _descendants(connection, key, recursive, after, limit + 1)
            found = search.records(connection, keys[:limit])
        shown = tuple(as_it_is(run, dead) for run in found)
        is_last = len(keys) <= limit
        return Page(shown, None if is_last else token_of(CHILDREN, "", keys[limit - 1]))

    def environment(self, digest: str) -> str | None:
        """The JSON document of ``RunRecord.environment``."""
        with self._database.read() as connection:
            row = connection.execute(
                "SELECT document FROM environments WHERE digest = ?", (digest,)
            ).fetchone()
        return None if row is None else str(row[0])

    # Deleting.

    def delete(self, ref: str) -> RunRecord:
        """Hide it, until ``restore``; nothing is lost."""
        return self._hide(ref, 1)

    def restore(self, ref: str) -> RunRecord:
        """Show it again."""
        return self._hide(ref, 0)

    def remove(self, ref: str) -> RunRecord:
        """Forget a run for good; ``Workspace.purge`` frees its files. Raises InUseError while a
        model comes from it or it has child runs, and ImmutableError while it runs."""
        self._settling.settle()
        with self._database.write() as connection:
            key = run_rows.find_key(connection, ref)
            run = self._record(connection, key)
            if run.status == "running" and self._lives.is_held(run.id):
                raise ImmutableError(f"run {run.reference} is running; cancel it first")
            what = f"run {run.reference}"
            models = connection.execute(
                "SELECT name, version FROM model_runs WHERE run = ? ORDER BY name, version", (key,)
            ).fetchall()
            if models:
                users = [f"{row['name']}:{row['version']}" for row in models]
                raise InUseError(what, users, "model")
            children = search.records(connection, _descendants(connection, key, False, limit=5))
            if children:
                raise InUseError(what, [child.reference for child in children], "child run")
            metrics.delete_points(connection, key)
            connection.execute("DELETE FROM runs WHERE key = ?", (key,))
            connection.execute(
                "DELETE FROM environments WHERE digest = ?1 AND NOT EXISTS"
                " (SELECT 1 FROM runs WHERE environment = ?1)",
                (run.environment,),
            )
        self._lives.remove(run.id, log=True)
        return run

    # Parts.

    def _insert(self, new: NewRun, id: str, *, has_life: bool) -> RunRecord:
        with self._database.write() as connection:
            key = insert(connection, new, id, self._now_ms(), has_life=has_life)
            return self._record(connection, key)

    def _hide(self, ref: str, is_deleted: int) -> RunRecord:
        with self._database.write() as connection:
            key = run_rows.find_key(connection, ref)
            connection.execute("UPDATE runs SET is_deleted = ? WHERE key = ?", (is_deleted, key))
            return self._record(connection, key)

    def _record(self, connection: sqlite3.Connection, key: int) -> RunRecord:
        return search.records(connection, [key])[0]


def _listed(text: str) -> list[object]:
    """What was written to the tag by hand is no list; it goes."""
    try:
        found = json.loads(text)
    except ValueError:
        return []
    return found if isinstance(found, list) else []


def _descendants(
    connection: sqlite3.Connection, key: int, recursive: bool, after: int = 0, limit: int = -1
) -> list[int]:
    """Keys above ``after``, in their order: a child is made after its parent."""
    below = " UNION ALL SELECT r.key FROM runs r JOIN below ON r.parent = below.key"
    rows = connection.execute(
        "WITH RECURSIVE below(key) AS (SELECT key FROM runs WHERE parent = ?1"
        f"{below if recursive else ''})"
        " SELECT key FROM below WHERE key > ?2 ORDER BY key LIMIT ?3",
        (key, after, limit),
    )
    return [row[0] for row in rows]
