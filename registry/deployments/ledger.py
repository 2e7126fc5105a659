"""The ledger: what changed in a deployment, when and by whom. The database refuses to change or
remove an entry, and entries outlive their deployment."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from registry import names
from registry.deployments.records import Share

LIVE = "live"
"""The event whose detail is all of the traffic from then on: {"traffic": [...], ...}."""
MAX_DETAIL_CHARS = 20_000


@dataclass(frozen=True, slots=True)
class Entry:
    """One line. ``at``: UTC, ISO 8601."""

    id: int
    at: str
    deployment: str
    actor: str
    event: str
    detail: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Live:
    """What got a deployment's traffic at a time, who saw to it and since when; ``images`` by
    revision as ``name:version@digest``."""

    traffic: tuple[Share, ...]
    images: Mapping[int, str]
    since: str
    actor: str


def append(
    connection: sqlite3.Connection,
    at: str,
    deployment: str,
    actor: str,
    event: str,
    detail: Mapping[str, Any],
) -> None:
    """One entry more. Raises InvalidNameError for an actor that cannot be printed."""
    names.check_text(actor, "the actor", 256)
    text = json.dumps(detail, sort_keys=True)
    if len(text) > MAX_DETAIL_CHARS:
        text = json.dumps({"cut": text[: MAX_DETAIL_CHARS // 2]})
    connection.execute(
        "INSERT INTO deployment_ledger (at, deployment, actor, event, detail)"
        " VALUES (?, ?, ?, ?, ?)",
        (at, deployment, actor, event, text),
    )


def read(
    connection: sqlite3.Connection, deployment: str | None, after: int, limit: int
) -> list[Entry]:
    """Entries in order, of one deployment or all, whose id is over ``after``."""
    rows = connection.execute(
        "SELECT * FROM deployment_ledger WHERE id > ?1 AND (?2 IS NULL OR deployment = ?2)"
        " ORDER BY id LIMIT ?3",
        (after, deployment, limit),
    ).fetchall()
    return [_entry(row) for row in rows]


def newest(connection: sqlite3.Connection, deployment: str, events: Sequence[str]) -> int:
    """The id of the last entry of one of these events; 0: there is none."""
    marks = ", ".join("?" * len(events))
    row = connection.execute(
        f"SELECT id FROM deployment_ledger WHERE deployment = ? AND event IN ({marks})"
        " ORDER BY id DESC LIMIT 1",
        (deployment, *events),
    ).fetchone()
    return 0 if row is None else int(row["id"])


def live_detail(traffic: Sequence[Share], images: Mapping[int, str]) -> dict[str, Any]:
    """The detail of a LIVE event."""
    return {
        "traffic": [
            {"revision": s.revision, "percent": s.percent, "is_shadow": s.is_shadow}
            for s in traffic
        ],
        "images": {str(number): image for number, image in images.items()},
    }


def live_at(entries: Iterable[Entry], at: str) -> Live | None:
    """What was live at ``at``: by the last LIVE event that is not later, in the order of the
    entries, so that a clock that was set back changes nothing. None before the first."""
    found: Entry | None = None
    for entry in entries:
        if entry.at > at:
            continue
        if entry.event == LIVE:
            found = entry
        elif entry.event == "deleted":
            found = None
    if found is None:
        return None
    shares = tuple(
        Share(each["revision"], each["percent"], each["is_shadow"])
        for each in found.detail["traffic"]
    )
    images = {int(number): image for number, image in found.detail["images"].items()}
    return Live(shares, images, found.at, found.actor)


def _entry(row: sqlite3.Row) -> Entry:
    return Entry(
        row["id"],
        row["at"],
        row["deployment"],
        row["actor"],
        row["event"],
        json.loads(row["detail"]),
    )
