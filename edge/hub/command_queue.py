"""Commands to devices: put into the database by the command line, published by the running hub
until they expire or are answered, and their replies, which may come in parts.

    id = send(database, "camera-1", "logs", {"module": "digits"}, now_ms=now, expires_s=60)
    outcome = wait(database, id, timeout_s=60)
"""

from __future__ import annotations

import secrets
import sqlite3
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from edge.errors import InvalidSpecError, NotFoundError
from edge.hub.batch import RefusedError
from edge.hub.database import Database, mark_changed
from edge.messages.codec import MAX_BYTES, VERSION
from edge.messages.commands import Command, Name, Reply

MAX_PARTS = 4_096
MAX_REPLY_BYTES = 64 * 1024 * 1024
POLL_S = 0.1


@dataclass(frozen=True, slots=True)
class Outcome:
    """``ok`` None: no whole reply (yet). ``text``: of all the parts that came."""

    id: str
    device: str
    name: str
    ok: bool | None
    text: str
    error: str | None
    expires_ms: int
    completed_ms: int | None


def send(
    database: Database,
    device: str,
    name: Name,
    arguments: Mapping[str, Any] | None = None,
    *,
    now_ms: int,
    expires_s: float = 60.0,
) -> str:
    """Have the hub send it; the device does it once, if it hears of it in time. Returns the
    command's id. Raises NotFoundError, InvalidSpecError."""
    text = msgspec.json.encode(dict(arguments or {})).decode()
    if len(text) > MAX_BYTES // 2:
        raise InvalidSpecError(f"a command may have {MAX_BYTES // 2} bytes of arguments")
    id = secrets.token_hex(16)
    with database.writer() as connection:
        if not connection.execute("SELECT 1 FROM devices WHERE name = ?", (device,)).fetchone():
            raise NotFoundError(f"no device {device} is enrolled; see: inferry edge devices")
        connection.execute(
            "INSERT INTO commands (id, device, name, arguments, created_ms, expires_ms)"
            " VALUES (?, ?, ?, ?, ?, ?)",
            (id, device, name, text, now_ms, now_ms + int(expires_s * 1000)),
        )
        mark_changed(connection, "commands")
    return id


def wait(
    database: Database,
    id: str,
    *,
    timeout_s: float,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> Outcome:
    """The outcome once it is whole, or as it is after ``timeout_s``. Raises NotFoundError."""
    deadline = clock() + timeout_s
    while True:
        with database.reader() as connection:
            found = outcome(connection, id)
        if found.ok is not None or clock() >= deadline:
            return found
        sleep(POLL_S)


def outcome(connection: sqlite3.Connection, id: str) -> Outcome:
    """Raises NotFoundError."""
    row = connection.execute("SELECT * FROM commands WHERE id = ?", (id,)).fetchone()
    if row is None:
        raise NotFoundError(f"no command {ascii(id)[:40]} was sent")
    parts = connection.execute("SELECT text FROM replies WHERE command = ? ORDER BY part", (id,))
    return Outcome(
        id=id,
        device=row["device"],
        name=row["name"],
        ok=None if row["completed_ms"] is None else bool(row["ok"]),
        text="".join(part[0] for part in parts),
        error=row["error"],
        expires_ms=row["expires_ms"],
        completed_ms=row["completed_ms"],
    )


def open_commands(
    connection: sqlite3.Connection, now_ms: int, device: str | None = None
) -> list[str]:
    """Ids of those that are neither answered nor expired, oldest first."""
    rows = connection.execute(
        "SELECT id FROM commands WHERE completed_ms IS NULL AND expires_ms > ?1"
        " AND (?2 IS NULL OR device = ?2) ORDER BY created_ms, rowid",
        (now_ms, device),
    )
    return [str(row[0]) for row in rows]


def command(connection: sqlite3.Connection, id: str, now_ms: int) -> tuple[str, Command] | None:
    """(device, message) of one; None when it is answered, expired or gone."""
    row = connection.execute(
        "SELECT * FROM commands WHERE id = ? AND completed_ms IS NULL AND expires_ms > ?",
        (id, now_ms),
    ).fetchone()
    if row is None:
        return None
    return row["device"], Command(
        v=VERSION,
        id=id,
        name=row["name"],
        expires_ms=row["expires_ms"],
        arguments=msgspec.json.decode(row["arguments"]),
    )


def keep_reply(connection: sqlite3.Connection, device: str, reply: Reply, now_ms: int) -> bool:
    """A part of a reply; the command is answered when all are there. False for one that is there
    already. Raises RefusedError."""
    row = connection.execute(
        "SELECT device, parts, completed_ms FROM commands WHERE id = ?", (reply.id,)
    ).fetchone()
    if row is None or row["device"] != device:
        raise RefusedError("command", f"a reply to {ascii(reply.id)[:40]}, which it was not sent")
    if row["completed_ms"] is not None:
        return False
    parts = reply.parts if reply.parts is not None else row["parts"]
    if not 0 <= reply.part < MAX_PARTS or (
        parts is not None and not reply.part < parts <= MAX_PARTS
    ):
        raise RefusedError("numbers", f"part {reply.part} of {parts} cannot be")
    before = connection.execute(
        "SELECT coalesce(sum(length(CAST(text AS BLOB))), 0) FROM replies WHERE command = ?",
        (reply.id,),
    ).fetchone()[0]  # as a blob: the length of a text ends at a NUL
    if before + len(reply.text.encode()) > MAX_REPLY_BYTES:
        raise RefusedError("too large", "a reply is longer than the hub keeps")
    is_new = connection.execute(
        "INSERT OR IGNORE INTO replies (command, part, text) VALUES (?, ?, ?)",
        (reply.id, reply.part, reply.text),
    ).rowcount
    if reply.parts is not None:
        connection.execute(
            "UPDATE commands SET parts = ?, ok = ?, error = ? WHERE id = ?",
            (reply.parts, int(reply.ok), reply.error, reply.id),
        )
    connection.execute(
        "UPDATE commands SET completed_ms = ? WHERE id = ?"
        " AND parts = (SELECT count(*) FROM replies WHERE command = id)",
        (now_ms, reply.id),
    )
    return bool(is_new)
