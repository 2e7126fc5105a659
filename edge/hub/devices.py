"""The devices of a hub: which are enrolled, and what each one said last.

Only who is enrolled is heard. The running hub notices who is added and removed.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeVar

import msgspec

from edge.errors import ConflictError, InvalidMessageError, InvalidSpecError, NotFoundError
from edge.hub.database import Database, mark_changed, mark_desired
from edge.messages import codec
from edge.messages.reported import Reported
from edge.messages.status import Status
from edge.topics import check_device

MAX_TAGS = 64
MAX_TAG_LENGTH = 128
MAX_NUMBER = 2**62
T = TypeVar("T", bound=msgspec.Struct)


@dataclass(frozen=True, slots=True)
class Device:
    """``is_online``: it said so, and the broker did not take it back. Times since 1970, of the
    hub's clock. ``status`` and ``reported``: None until it said it."""

    name: str
    tags: Mapping[str, str]
    enrolled_at_ms: int
    is_online: bool
    last_seen_ms: int | None
    epoch: int
    status: Status | None
    reported: Reported | None
    reported_at_ms: int | None


def enrol(
    database: Database, name: str, *, now_ms: int, tags: Mapping[str, str] | None = None
) -> None:
    """Hear this device from now on. One that is enrolled already begins anew: its next report
    counts, whatever the number; its tags are kept unless new ones are given. Raises
    InvalidSpecError."""
    check_device(name)
    text = None if tags is None else _tags_text(tags)
    with database.writer() as connection:
        connection.execute(
            "INSERT INTO devices (name, enrolled_at_ms, tags) VALUES (?1, ?2, coalesce(?3, '{}'))"
            " ON CONFLICT (name) DO UPDATE SET enrolled_at_ms = ?2, tags = coalesce(?3, tags),"
            " epoch = 0, reported_epoch = 0, reported_number = 0",
            (name, now_ms, text),
        )
        mark_changed(connection, "devices")
        mark_desired(connection, [name])


def remove(database: Database, name: str) -> None:
    """Hear it no more, and forget what it said, its telemetry too. Raises NotFoundError."""
    with database.writer() as connection:
        size, records = connection.execute(
            "SELECT coalesce(sum(length(payload)), 0), coalesce(sum(segments.records), 0)"
            " FROM segments JOIN streams ON streams.id = segments.stream WHERE device = ?",
            (name,),
        ).fetchone()
        if not connection.execute("DELETE FROM devices WHERE name = ?", (name,)).rowcount:
            raise NotFoundError(f"no device {name} is enrolled")
        connection.executemany(
            "UPDATE totals SET value = value - ? WHERE name = ?",
            [(size, "size_bytes"), (records, "records")],
        )
        mark_changed(connection, "devices")


def set_tags(
    database: Database, name: str, tags: Mapping[str, str], remove: tuple[str, ...] = ()
) -> None:
    """Add or change ``tags``, take those of ``remove`` away. What the device shall run may change
    by that. Raises NotFoundError, InvalidSpecError."""
    with database.writer() as connection:
        row = connection.execute("SELECT tags FROM devices WHERE name = ?", (name,)).fetchone()
        if row is None:
            raise NotFoundError(f"no device {name} is enrolled")
        merged = {**tags_of(row[0]), **tags}
        kept = {key: value for key, value in merged.items() if key not in remove}
        connection.execute("UPDATE devices SET tags = ? WHERE name = ?", (_tags_text(kept), name))
        mark_changed(connection, "devices")
        mark_desired(connection, [name])


def tags_of(text: str) -> dict[str, str]:
    """Of the column ``devices.tags``."""
    return msgspec.json.decode(text, type=dict[str, str])


def names(connection: sqlite3.Connection) -> set[str]:
    """Of all that are enrolled."""
    return {str(row[0]) for row in connection.execute("SELECT name FROM devices")}


def list_devices(connection: sqlite3.Connection) -> list[Device]:
    """By name."""
    return [_device(row) for row in connection.execute("SELECT * FROM devices ORDER BY name")]


def get(connection: sqlite3.Connection, name: str) -> Device:
    """Raises NotFoundError."""
    row = connection.execute("SELECT * FROM devices WHERE name = ?", (name,)).fetchone()
    if row is None:
        raise NotFoundError(f"no device {name} is enrolled; see: inferry edge devices")
    return _device(row)


def keep_status(
    connection: sqlite3.Connection, status: Status, payload: bytes, now_ms: int
) -> bool:
    """A birth or will. False for one of an earlier start of the agent, which changes nothing. A
    birth with another outbox is of a device that was set up anew: it counts, and its reports do."""
    row = connection.execute(
        "SELECT epoch, status FROM devices WHERE name = ?", (status.device,)
    ).fetchone()
    is_new = status.epoch >= row[0]
    if not is_new and status.online and status.life:
        before = _read(row[1], Status)
        is_new = before is not None and before.life != status.life
    if not is_new:
        return False
    if status.epoch < row[0]:
        connection.execute(
            "UPDATE devices SET reported_epoch = 0, reported_number = 0 WHERE name = ?",
            (status.device,),
        )
    connection.execute(
        "UPDATE devices SET epoch = ?1, online = ?2, status = iif(?2, ?3, coalesce(status, ?3)),"
        " last_seen_ms = iif(?2, ?4, last_seen_ms) WHERE name = ?5",
        (status.epoch, int(status.online), payload, now_ms, status.device),
    )
    return True


def keep_reported(
    connection: sqlite3.Connection, reported: Reported, payload: bytes, now_ms: int
) -> bool:
    """False for one that is not newer than what is known."""
    found = connection.execute(
        "UPDATE devices SET reported = ?1, reported_epoch = ?2, reported_number = ?3,"
        " reported_at_ms = ?4, last_seen_ms = ?4 WHERE name = ?5"
        " AND (reported_epoch < ?2 OR (reported_epoch = ?2 AND reported_number < ?3))",
        (payload, reported.epoch, reported.number, now_ms, reported.device),
    )
    return found.rowcount > 0


def keep_seen(connection: sqlite3.Connection, name: str, now_ms: int) -> None:
    """It was heard of."""
    connection.execute("UPDATE devices SET last_seen_ms = ? WHERE name = ?", (now_ms, name))


def _device(row: sqlite3.Row) -> Device:
    return Device(
        name=row["name"],
        tags=tags_of(row["tags"]),
        enrolled_at_ms=row["enrolled_at_ms"],
        is_online=bool(row["online"]),
        last_seen_ms=row["last_seen_ms"],
        epoch=row["epoch"],
        status=_read(row["status"], Status),
        reported=_read(row["reported"], Reported),
        reported_at_ms=row["reported_at_ms"],
    )


def _read(payload: bytes | None, kind: type[T]) -> T | None:
    """None also for what an earlier version of this program could read and this one cannot."""
    if payload is None:
        return None
    try:
        return codec.decode(payload, kind)
    except InvalidMessageError:
        return None


def _tags_text(tags: Mapping[str, str]) -> str:
    if len(tags) > MAX_TAGS:
        raise ConflictError(f"a device may have {MAX_TAGS} tags; remove some first")
    for key, value in tags.items():
        if not key or not (key + value).isprintable() or len(key + value) > MAX_TAG_LENGTH:
            raise InvalidSpecError(
                f"the tag {ascii(key)[:40]} must be printable, with up to {MAX_TAG_LENGTH}"
                " characters with its value"
            )
    return msgspec.json.encode(dict(tags)).decode()
